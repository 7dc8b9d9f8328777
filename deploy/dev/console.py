"""What a person sees of a run: one line per event, coloured on a terminal.

``clarion.log`` holds the same, and what is left out on a terminal because it tells nothing while all is well.
"""

from __future__ import annotations

import json
import re
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TextIO

from clarion.logs import redact

_LOG_BYTES: Final = 5_000_000
_QUIET_PER_S: Final = 20
"""Requests shown per second; under load the rest is counted, or the terminal would be all that one sees."""

_RESET, _DIM, _BOLD = "\033[0m", "\033[2m", "\033[1m"
_LEVELS: Final = {
    "debug": "\033[2m",
    "info": "\033[32m",
    "warning": "\033[33m",
    "error": "\033[31m",
    "critical": "\033[31m",
}
_SERVICES: Final = ["\033[36m", "\033[35m", "\033[34m", "\033[96m", "\033[95m", "\033[94m", "\033[92m", "\033[93m"]
_SUPERVISOR: Final = re.compile(r"^\d{4}-\d\d-\d\d [\d:,]+ (?P<level>[A-Z]+) (?P<text>.*)$")
_SUPERVISOR_LEVELS: Final = {"WARN": "warning", "ERRO": "error", "CRIT": "critical", "DEBG": "debug"}
_REDIS: Final = re.compile(r"^\d+:[A-Z-]*[a-z-]* .*? \d\d:\d\d:\d\d\.\d+ (?P<level>[.\-*#]) (?P<text>.*)$")
_NOISE: Final = re.compile(
    r"supervisor (?:success: |spawned: |supervisord started |stopped: .* \(exit status 0\)$|waiting for .* to die$"
    r"|received SIG\w+ indicating exit request|Set uid to user|RPC interface"
    r"|Server 'unix_http_server' running without any HTTP authentication)"  # the socket's mode is what guards it
    r"|redis (?:oO0|Redis version=|Configuration loaded|Server initialized|WARNING Memory overcommit"
    r"|User requested shutdown|Redis is now ready to exit|\d+:signal-handler )"
    r"|gateway-\d+ Starting server at tcp:"  # said before it listens; "listening on" follows
)
"""Events, after their program's name, that tell a developer nothing: a good start's and a good end's steps."""
_REDIS_TOLD: Final = "Ready to accept connections"
"""Of what Redis does not mark as a warning, the one line that is shown."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


class Console:
    """Writes events to the terminal and to a bounded file."""

    def __init__(self, file: Path, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._is_coloured = self._out.isatty()
        self._is_gone = False
        self._path = file
        self._file = file.open("a")
        self._colours: dict[str, str] = {}
        self._second = 0
        self._shown = self._hidden = 0

    def say(self, text: str) -> None:
        """Write a line of ``make up`` itself."""
        self._write(f"{_BOLD}{text}{_RESET}" if self._is_coloured else text, text)

    def event(self, service: str, line: str) -> None:
        """Write one line of a service's log: a JSON event, or any other program's text."""
        event = _parse(service, line)
        if event.get("event") == "request.done" and event.get("level") == "info" and self._is_too_many():
            return
        shown = None if _is_noise(service, event) else self._render(service, dict(event), coloured=True)
        self._write(shown, self._render(service, event, coloured=False))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _is_too_many(self) -> bool:
        now = int(time.monotonic())
        if now != self._second:
            hidden, self._second, self._shown, self._hidden = self._hidden, now, 0, 0
            if hidden:
                self.say(f"... and {hidden} more requests, all in log/nginx-access.log")
        self._shown += 1
        if self._shown > _QUIET_PER_S:
            self._hidden += 1
        return self._shown > _QUIET_PER_S

    def _render(self, service: str, event: dict[str, Any], *, coloured: bool) -> str:
        stamp = _local_time(event.pop("timestamp", ""))
        level = str(event.pop("level", "info"))
        text = _CONTROL.sub("?", str(event.pop("event", "")))
        for known in ("service", "logger"):
            event.pop(known, None)
        keys = " ".join(f"{key}={_value(key, value)}" for key, value in event.items() if value not in ("", None))
        if not coloured:
            return f"{stamp} {service:<10} {level:<8} {text} {keys}".rstrip()
        colour = self._colours.setdefault(service, _SERVICES[len(self._colours) % len(_SERVICES)])
        mark = f"{_LEVELS.get(level, '')}{level:<8}{_RESET}"
        tail = f" {_DIM}{keys}{_RESET}" if keys else ""
        return f"{_DIM}{stamp}{_RESET} {colour}{service:<10}{_RESET} {mark} {text}{tail}"

    def _write(self, coloured: str | None, plain: str) -> None:
        self._file.write(plain + "\n")
        self._file.flush()
        if self._file.tell() > _LOG_BYTES:
            self._file.close()
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            self._file = self._path.open("a")
        if self._is_gone or coloured is None:
            return
        try:
            print(coloured if self._is_coloured else plain, file=self._out, flush=True)
        except OSError:  # the terminal or the pipe is gone: the file goes on
            self._is_gone = True


def _parse(service: str, line: str) -> dict[str, Any]:
    if line.startswith("{"):
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if isinstance(event, dict):
            return event
    if service == "supervisor" and (match := _SUPERVISOR.match(line)):
        return {"event": match["text"], "level": _SUPERVISOR_LEVELS.get(match["level"], "info")}
    if service == "redis" and (match := _REDIS.match(line)):
        return {"event": match["text"], "level": "warning" if match["level"] == "#" else "info"}
    # Other programs know nothing of our rules for secrets.
    return dict(redact(None, "", {"event": line.rstrip()}))


def _is_noise(service: str, event: dict[str, Any]) -> bool:
    text = str(event.get("event"))
    if service == "redis" and event.get("level") == "info" and not text.startswith(_REDIS_TOLD):
        return True
    return _NOISE.match(f"{service} {text}") is not None


def _local_time(stamp: str) -> str:
    try:
        when = datetime.fromisoformat(stamp)
    except (TypeError, ValueError):
        when = datetime.now().astimezone()
    return when.astimezone().strftime("%H:%M:%S.%f")[:-3]


def _value(key: str, value: Any) -> str:
    if key == "exception" and isinstance(value, list):
        value = _innermost(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = _CONTROL.sub("?", text)
    return json.dumps(text, ensure_ascii=False) if isinstance(value, str) and (" " in text or '"' in text) else text


def _innermost(exceptions: list[Any]) -> str:
    """Say in one line what structlog's ``dict_tracebacks`` holds; the whole of it is in the service's own log."""
    try:
        last = exceptions[0]
        frame = last["frames"][-1] if last.get("frames") else {}
        return f"{last['exc_type']}: {last['exc_value']} ({frame.get('filename', '?')}:{frame.get('lineno', '?')})"
    except (KeyError, IndexError, TypeError, AttributeError):
        return "see the service's log"
