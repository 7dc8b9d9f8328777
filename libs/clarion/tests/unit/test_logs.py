"""clarion.logs: one event a line, and no secret in it."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import logging, structlog
from clarion.logs import logging_setup
logging_setup("test", form="json")
log = structlog.stdlib.get_logger("a.module")
log.info("connection.closed", close_code=3008, path="/ws/x/?token=eyJhbGciOi.eyJzdWIiOi.c2ln&hello=1")
log.warning("request.failed", authorization="Bearer abc", url="/x?api_key=1&key=clk_secret")
logging.getLogger("django").warning("from stdlib %s", "Bearer eyJhbGciOi.eyJzdWIiOi.c2ln", extra={"status": 400})
logging.getLogger("clarion.server").info("listening on %s:%s", "::1", 80, extra={"event": "port.opened"})
log.debug("not.shown")
secret = "hunter2"
try:
    raise ValueError("boom")
except ValueError:
    log.exception("task.failed")
"""


def test_events_are_json_lines_without_secrets() -> None:
    """Each event is one JSON line with service, level, logger and time; tokens, keys and locals are not in it."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [event["event"] for event in events] == [
        "connection.closed", "request.failed", "from stdlib Bearer [redacted]", "port.opened", "task.failed",
    ]  # fmt: skip
    assert events[0]["path"] == "/ws/x/?token=[redacted]&hello=1"
    assert events[0]["close_code"] == 3008
    assert events[1]["authorization"] == "[redacted]"
    assert events[2]["status"] == 400
    assert "message" not in events[2]
    assert events[3]["message"] == "listening on ::1:80"
    assert "ValueError: boom" in events[4]["exception"]
    assert "hunter2" not in done.stderr
    for event in events:
        assert {"service", "level", "logger", "timestamp"} <= event.keys()
