"""nginx's configuration for one machine, rendered from ``deploy/nginx``.

Source: deploy/nginx/README.md.
"""

from __future__ import annotations

import ipaddress
import os
import re
import resource
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deploy.dev.env import ROOT, DevEnv

TEMPLATES: Final = ROOT / "deploy" / "nginx"
_PLACEHOLDER: Final = re.compile(r"\$\{(CLARION_\w+)\}")
_MAX_FILES: Final = 65_536
_RESERVED_FILES: Final = 64  # of a worker, beside its connections: listeners, logs, the event loop


def nginx_write(folder: Path, env: DevEnv, *, http_api: str, gateways: Sequence[str], access_log: Path) -> Path:
    """Write ``nginx.conf`` and what it includes into ``folder``; return its path.

    Args:
        http_api: ``host:port``.
        gateways: ``host:port`` each.
    """
    for included in TEMPLATES.glob("*.inc"):
        shutil.copyfile(included, folder / included.name)
    values = _values(folder, env, http_api, gateways, access_log)
    target = folder / "nginx.conf"
    template = (TEMPLATES / "nginx.conf.template").read_text()
    target.write_text(_PLACEHOLDER.sub(lambda match: values[match[1]], template))
    return target


def _values(folder: Path, env: DevEnv, http_api: str, gateways: Sequence[str], access_log: Path) -> dict[str, str]:
    files = _max_files()
    networks = [ipaddress.ip_network(network.strip()) for network in env.trusted_proxies.split(",") if network.strip()]
    return {
        # root reads its own folders below /root; workers of another user could not
        "CLARION_NGINX_USER": "user root root;" if os.geteuid() == 0 else "",
        "CLARION_NGINX_WORKERS": "auto",
        "CLARION_NGINX_SHUTDOWN_TIMEOUT": "10s",
        "CLARION_NGINX_RESOLVER": "# only addresses: no name is asked for again",
        "CLARION_NGINX_REDIRECT": "# plain HTTP: nothing to lead to TLS",
        "CLARION_NGINX_TLS": "# plain HTTP",
        "CLARION_NGINX_STATE": _quotable(folder),
        "CLARION_NGINX_ACCESS_LOG": _quotable(access_log),
        "CLARION_NGINX_NOFILE": str(files),
        "CLARION_NGINX_WORKER_CONNECTIONS": str(files - _RESERVED_FILES),
        "CLARION_NGINX_LISTEN": f"127.0.0.1:{env.port}",
        "CLARION_NGINX_HTTP_API_SERVERS": f"server {http_api};",
        "CLARION_NGINX_GATEWAY_SERVERS": _lines([f"server {each} max_fails=0;" for each in gateways]),
        "CLARION_NGINX_REAL_IP": _real_ip([str(network) for network in networks]),
        "CLARION_NGINX_TRUSTED": _lines([f"{network} 1;" for network in networks]),
        **_limits(env),
    }


def _max_files() -> int:
    """Open files that a worker may have: nginx raises its own soft limit, never the hard one."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)


def _real_ip(networks: Sequence[str]) -> str:
    if not networks:
        return "# no trusted proxy: the client is who connects"
    sources = [f"set_real_ip_from {network};" for network in networks]
    return _lines([*sources, "real_ip_header X-Forwarded-For;", "real_ip_recursive on;"])


def _limits(env: DevEnv) -> dict[str, str]:
    zones: list[str] = ["limit_conn_status 429;", "limit_req_status 429;"]
    sockets: list[str] = []
    requests: list[str] = []
    if count := env.nginx_connections_per_address:
        zones.append("limit_conn_zone $binary_remote_addr zone=sockets:10m;")
        sockets.append(f"limit_conn sockets {count};")
    if rate := env.nginx_handshakes_per_s:
        zones.append(f"limit_req_zone $binary_remote_addr zone=handshakes:10m rate={rate}r/s;")
        sockets.append(f"limit_req zone=handshakes burst={5 * rate} nodelay;")
    if rate := env.nginx_requests_per_s:
        zones.append(f"limit_req_zone $binary_remote_addr zone=requests:10m rate={rate}r/s;")
        requests.append(f"limit_req zone=requests burst={5 * rate} nodelay;")
    return {
        "CLARION_NGINX_LIMIT_ZONES": _lines(zones),
        "CLARION_NGINX_LIMIT_SOCKETS": _lines(sockets) or "# no limit",
        "CLARION_NGINX_LIMIT_REQUESTS": _lines(requests) or "# no limit",
    }


def _lines(lines: Sequence[str]) -> str:
    return "\n".join(lines)


def _quotable(path: Path) -> str:
    text = str(path)
    if re.search(r'["$\\\n]', text):
        raise ValueError(f"nginx cannot have its files in {text!r}: choose another CLARION_RUN_DIR")
    return text
