"""nchan, the publish/subscribe module of nginx: found on this machine, and configured as it is fastest.

One worker, the memory store (no Redis), no message kept for later, no access log. There is no token: who may subscribe
is a matter of nginx's other modules.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.load.node_packages import PackagesMissing

MODULE: Final = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
"""Where Debian's libnginx-mod-nchan has it."""

_NGINX: Final = shutil.which("nginx", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")

_CONFIG: Final = """
load_module {module};
daemon off;
worker_processes 1;
worker_rlimit_nofile 100000;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 20000; }}
http {{
    access_log off;
    tcp_nodelay on;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 100000000;
    keepalive_timeout 600s;
    nchan_shared_memory_size 512M;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location ~ ^/pub/(.+)$ {{
            nchan_publisher http;
            nchan_channel_id $1;
            nchan_message_buffer_length 0;
        }}
        location ~ ^/sub/(.+)$ {{
            nchan_subscriber websocket;
            nchan_channel_id $1;
            nchan_subscriber_first_message newest;
            nchan_websocket_ping_interval 0;
        }}
    }}
}}
"""


def nchan_check() -> None:
    """Make sure that it can run.

    Raises:
        PackagesMissing: it is not on this machine.
    """
    if _NGINX is None or not MODULE.exists():
        raise PackagesMissing("nchan is not on this machine (Debian: libnginx-mod-nchan): no figures of it")


def nchan_command(port: int, folder: Path) -> list[str]:
    """Write its configuration into a folder; the command that runs it."""
    assert _NGINX is not None
    config = folder / "nchan.conf"
    config.write_text(_CONFIG.format(module=MODULE, folder=folder, port=port))
    return [_NGINX, "-c", str(config), "-p", str(folder)]


def nchan_versions() -> list[str]:
    """Of nginx, and of nchan's package where dpkg knows it."""
    if _NGINX is None or not MODULE.exists():
        return []
    nginx = subprocess.run([_NGINX, "-v"], capture_output=True, text=True, check=True).stderr.strip()
    versions = [f"nginx {nginx.rpartition('/')[2]}"]
    if dpkg := shutil.which("dpkg-query"):
        asked = [dpkg, "-W", "-f", "${Version}", "libnginx-mod-nchan"]
        found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
        versions.append(f"nchan {found}")
    return versions
