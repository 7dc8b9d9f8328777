"""Prepare the database of a run folder: migrate it, make the administrator and the API key.

``python -m deploy.dev.prepare`` does http-api's part, in one process because starting Django takes a second: wishes as
JSON on stdin, results as JSON on stdout. The gateway's one table follows, in a process with its settings.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

from clarion.env import EXIT_CONFIG
from deploy.dev.env import ROOT
from deploy.dev.processes import python
from deploy.dev.state import RunDir, State

ADMIN_NAME: Final = "admin"
_TIMEOUT_S: Final = 120
_SETTINGS: Final = "http_api.settings.base"
_LAB_MIGRATE: Final = ["django", "migrate", "lab", "--noinput", "-v0", "--settings", "ws_gateway.settings.base"]


class PrepareFailed(Exception):
    """The database could not be prepared; what was said is in the text.

    Args: ``code``: the exit code of ``make up``, 78 if the environment is wrong.
    """

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


def stamp() -> str:
    """Hash all that decides what the database's tables are: the migrations here, and the packages that bring others."""
    digest = hashlib.sha256()
    files = [
        ROOT / "uv.lock",
        *ROOT.glob("libs/*/src/**/migrations/*.py"),
        *ROOT.glob("services/*/src/**/migrations/*.py"),
    ]
    for path in sorted(files):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def is_needed(run_dir: RunDir, state: State) -> bool:
    """Tell whether the database is missing or was prepared for other code."""
    return not run_dir.database.exists() or not state.api_key or not state.admin_id or state.prepared != stamp()


def prepare(run_dir: RunDir, state: State, env: Mapping[str, str]) -> None:
    """Bring the database up to date and note in ``state`` who the administrator is and what the key is.

    Raises:
        PrepareFailed: with what the process said.
    """
    if not run_dir.database.exists():
        state.api_key = state.admin_id = ""
    wanted = {"password": state.admin_password, "user": not state.admin_id, "key": not state.api_key}
    result = json.loads(_run(["deploy.dev.prepare"], {**env, "DJANGO_SETTINGS_MODULE": _SETTINGS}, json.dumps(wanted)))
    _run(_LAB_MIGRATE, env)
    state.admin_id = result["admin_id"] or state.admin_id
    state.api_key = result["api_key"] or state.api_key
    state.prepared = stamp()


def _run(module: list[str], env: Mapping[str, str], text: str = "") -> str:
    """Run a Python module with its arguments and return what it prints."""
    try:
        done = subprocess.run(
            [python(), "-m", *module],
            cwd=ROOT,
            env=env,
            input=text,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise PrepareFailed(f"the database was not ready within {_TIMEOUT_S} s") from exc
    if done.returncode:
        raise PrepareFailed(done.stderr.strip(), EXIT_CONFIG if done.returncode == EXIT_CONFIG else 1)
    return done.stdout


def _main() -> None:
    import django  # only here: the rest of `make up` starts without it
    from django.core.management import call_command

    wanted: dict[str, Any] = json.load(sys.stdin)
    django.setup()
    call_command("migrate", interactive=False, verbosity=0, stdout=sys.stderr)
    result = {
        "admin_id": _admin(wanted["password"]) if wanted["user"] else "",
        "api_key": _api_key() if wanted["key"] else "",
    }
    json.dump(result, sys.stdout)


def _admin(password: str) -> str:
    from django.contrib.auth.models import User

    user, _ = User.objects.get_or_create(username=ADMIN_NAME)
    user.is_staff = user.is_superuser = user.is_active = True
    user.set_password(password)
    user.save()
    return str(user.pk)


def _api_key() -> str:
    from django.core.management import call_command

    output = io.StringIO()
    call_command("api_key_create", name="dev", scopes="admin", stdout=output)
    return output.getvalue().split()[-1]


if __name__ == "__main__":
    os.umask(0o077)
    _main()
