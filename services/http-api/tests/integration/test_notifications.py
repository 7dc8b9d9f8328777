"""POST /api/v1/notifications: rows and outbox rows in one transaction."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from .conftest import StartService
from .http_service import HttpService

ROWS = """
import django, json, sys; django.setup()
from clarion.inbox.models import Delivery, Notification
from clarion.outbox.models import OutboxMessage
n = Notification.objects.get(id=sys.argv[1])
deliveries = Delivery.objects.filter(notification=n).select_related("outbox").order_by("outbox__sequence")
print(json.dumps({"title": n.title, "body": n.body, "data": n.data_value,
    "to": [[d.user_id, d.state, d.outbox.channel, json.loads(d.outbox.data)] for d in deliveries]}))
"""
GOOD: dict[str, Any] = {"users": ["42", "ada"], "title": "Hello", "body": " two\nlines ", "data": {"n": [1, None]}}


def test_a_notification_is_kept_for_each_user(service: HttpService) -> None:
    """202 with the id; a delivery and an outbox row per user, in the order named, holding what clients will see."""
    answer = service.post("/api/v1/notifications", GOOD, key="notify")
    assert answer.status == 202, answer.body
    made = answer.json()
    assert UUID(made["id"]).version == 7
    assert made["users"] == 2
    rows = json.loads(service.run("-c", ROWS, made["id"]).stdout)
    event = {
        "event": "notification.created",
        "notification": {
            "id": made["id"],
            "title": "Hello",
            "body": " two\nlines ",
            "data": {"n": [1, None]},
            "created_at": made["created_at"],
        },
    }
    assert rows["to"] == [["42", "pending", "#42", event], ["ada", "pending", "#ada", event]]


def test_a_thousand_users_are_notified_at_once(service: HttpService) -> None:
    """1,000 recipients are the most; one more is told."""
    users = [f"user-{number}" for number in range(1000)]
    assert service.post("/api/v1/notifications", {**GOOD, "users": users}, key="notify").json()["users"] == 1000
    answer = service.post("/api/v1/notifications", {**GOOD, "users": [*users, "one-more"]}, key="notify")
    assert answer.json()["errors"][0] | {"detail": ""} == {"pointer": "#/users", "code": "max_length", "detail": ""}


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"users": []}, "#/users", "min_length"),
        ({"users": "42"}, "#/users", "not_a_list"),
        ({"users": None}, "#/users", "null"),
        ({"users": ["42", 7]}, "#/users/1", "name_invalid"),
        ({"users": ["42", "a#b"]}, "#/users/1", "name_invalid"),
        ({"users": ["42", "42"]}, "#/users", "not_unique"),
        ({"title": ""}, "#/title", "blank"),
        ({"title": "   "}, "#/title", "blank"),
        ({"title": "x" * 201}, "#/title", "max_length"),
        ({"title": 5}, "#/title", "invalid"),
        ({"title": "a\u0000b"}, "#/title", "null_characters_not_allowed"),
        ({"body": "x" * 10_001}, "#/body", "max_length"),
        ({"body": None}, "#/body", "null"),
        ({"body": "a\u0000b"}, "#/body", "null_characters_not_allowed"),
        ({"channel": "chat:a"}, "#/channel", "unknown"),
    ],
)
def test_a_wrong_field_of_a_notification_is_told(
    service: HttpService, change: dict[str, Any], pointer: str, code: str
) -> None:
    """400 with the pointer and the code of what is wrong; nothing is written."""
    answer = service.post("/api/v1/notifications", {**GOOD, **change}, key="notify")
    assert (answer.status, answer.code) == (400, "validation_failed"), answer.body
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]


@pytest.mark.parametrize("missing", ["users", "title", "body"])
def test_a_missing_field_of_a_notification_is_told(service: HttpService, missing: str) -> None:
    """All but data are needed."""
    document = {name: value for name, value in GOOD.items() if name != missing}
    answer = service.post("/api/v1/notifications", document, key="notify")
    assert [error["pointer"] for error in answer.json()["errors"]] == [f"#/{missing}"]


def test_a_notifications_bounds_are_inclusive(service: HttpService) -> None:
    """200 characters of title and 10,000 of body pass, whatever alphabet they are in."""
    document = {"users": ["42"], "title": "ä" * 200, "body": "☃" * 10_000}
    assert service.post("/api/v1/notifications", document, key="notify").status == 202


def test_a_notification_too_large_to_send_is_refused(service: HttpService) -> None:
    """What a client would receive has to fit in a publication: told now, not when it is sent."""
    answer = service.post("/api/v1/notifications", {**GOOD, "data": "x" * 65_530}, key="notify")
    assert (answer.status, answer.code) == (413, "publication_too_large")
    answer = service.post("/api/v1/notifications", {**GOOD, "data": 2**64}, key="notify")
    assert (answer.status, answer.code) == (400, "data_invalid")


def test_a_notification_needs_no_redis(start_service: StartService) -> None:
    """It is the database that keeps it: Redis may be away."""
    service = start_service("redis://127.0.0.1:1")
    assert service.post("/api/v1/notifications", GOOD, key="notify").status == 202
