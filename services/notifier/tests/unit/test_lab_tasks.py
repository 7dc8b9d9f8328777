"""notifier.lab_tasks: which messages are tasks."""

from __future__ import annotations

from typing import Any

import pytest

from clarion.errors import DataInvalid, NameInvalid
from notifier.lab_tasks import STEPS_MAX, LabTask, task_of

TASK_ID = "0a" * 16
REPLY_TO = f"asgispecific.{'1b' * 16}"


def message(**fields: Any) -> dict[str, Any]:
    return {"type": "lab.task", "id": TASK_ID, "reply_to": REPLY_TO, "steps": 20, **fields}


@pytest.mark.parametrize("steps", [1, STEPS_MAX])
def test_task_of_reads_a_task(steps: int) -> None:
    """What the lesson's consumer sends."""
    assert task_of(message(steps=steps), "asgi") == LabTask(TASK_ID, REPLY_TO, steps)


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "chat.message"},
        {"id": None},
        {"id": "x" * 32},
        {"id": TASK_ID + "\n"},
        {"steps": 0},
        {"steps": STEPS_MAX + 1},
        {"steps": "20"},
        {"steps": 2.0},
        {"steps": True},
        {"steps": None},
    ],
)
def test_task_of_refuses_anything_else(fields: dict[str, Any]) -> None:
    """Whoever may send to the channel may send anything."""
    with pytest.raises(DataInvalid):
        task_of(message(**fields), "asgi")


@pytest.mark.parametrize("reply_to", [None, "asgi__group__news:x", "asgi.lab-tasks", f"otherspecific.{'1b' * 16}"])
def test_task_of_reports_to_a_consumer_alone(reply_to: object) -> None:
    """A task's reports must not end up in a group."""
    with pytest.raises(NameInvalid):
        task_of(message(reply_to=reply_to), "asgi")
