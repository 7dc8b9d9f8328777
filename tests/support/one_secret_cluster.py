"""A `kubectl` for tests of pages: a cluster with one Secret, whose rollouts end when the test says so."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.support.child import child_start, child_stop
from tests.support.waiting import wait_until

_KUBECTL: Final = """#!/usr/bin/env bash
set -eu
case "$*" in
"-n clarion get secret clarion-secrets -o json") cat "$CLUSTER/secret" ;;
"-n clarion patch secret clarion-secrets --type merge --patch-file /dev/stdin")
    jq -s '.[0] * {data: (.[1].stringData | map_values(@base64))}' "$CLUSTER/secret" - >"$CLUSTER/secret.new"
    mv "$CLUSTER/secret.new" "$CLUSTER/secret" ;;
"-n clarion rollout restart deployment/http-api deployment/ws-gateway deployment/notifier")
    rm -f "$CLUSTER/rolled"
    touch "$CLUSTER/rolling" ;;
"-n clarion rollout status deployment/"*)
    until [ -e "$CLUSTER/rolled" ]; do sleep 0.02; done # the test's word
    exit "$(cat "$CLUSTER/rolled")" ;;
*) echo "kubectl: not told how to $*" >&2; exit 64 ;;
esac
"""


class OneSecretCluster:
    """Runs a page's commands; each roll stops until :meth:`roll_end`."""

    def __init__(self, folder: Path, secret: Mapping[str, str]) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.program("kubectl", _KUBECTL)
        data = {name: base64.b64encode(value.encode()).decode() for name, value in secret.items()}
        (folder / "secret").write_text(json.dumps({"data": data}))
        self._shell: subprocess.Popen[bytes] | None = None

    def program(self, name: str, text: str) -> None:
        """Put a program in front of ``PATH``."""
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def secret(self, name: str) -> str:
        """A value of the Secret, as it is now."""
        value: str = json.loads((self.folder / "secret").read_text())["data"][name]
        return base64.b64decode(value).decode()

    def start(self, script: str, **env: str) -> None:
        """Begin to run a script as if it were pasted into bash; unset variables are errors."""
        path = f"{self.bin}:{os.environ['PATH']}"
        every = {**os.environ, **env, "CLUSTER": str(self.folder), "PATH": path}
        self._shell = child_start(["bash", "-uo", "pipefail", "-c", script], self._log, env=every, cwd=self.folder)

    def wait_rolling(self) -> None:
        """Wait until the script rolls the services.

        Raises:
            AssertionError: it ended before that; what it printed.
        """
        rolling = self.folder / "rolling"
        wait_until(lambda: rolling.exists() or self._code is not None, what="a roll begins")
        assert rolling.exists(), self.printed

    def roll_end(self, code: int = 0) -> None:
        """Let the roll that is under way succeed, or fail."""
        (self.folder / "rolling").unlink()
        (self.folder / "rolled.new").write_text(str(code))
        (self.folder / "rolled.new").rename(self.folder / "rolled")

    def wait(self) -> int:
        """Wait for the script's end and return its exit code."""
        wait_until(lambda: self._code is not None, what="the script ends")
        assert self._code is not None
        return self._code

    def stop(self) -> None:
        """End what is left of the script."""
        if self._shell:
            child_stop(self._shell)

    @property
    def printed(self) -> str:
        """What the scripts have printed."""
        return self._log.read_text()

    @property
    def _log(self) -> Path:
        return self.folder / "printed"

    @property
    def _code(self) -> int | None:
        return self._shell.poll() if self._shell else None
