"""clarion.inbox on real databases: rows of one transaction, states that follow the outbox."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.db import transaction

from clarion.errors import DataInvalid, NameInvalid, PublicationTooLarge
from clarion.inbox.models import BODY_MAX_CHARS, Delivery, Notification
from clarion.inbox.selectors import deliveries_of_user, delivery_counts, notification_get
from clarion.inbox.services import USERS_MAX, notification_create
from clarion.outbox.claims import Failure, messages_claim, messages_settle
from clarion.outbox.models import MessageState, OutboxMessage
from clarion.outbox.services import messages_clean, messages_requeue
from tests.support.databases import Database

pytestmark = pytest.mark.usefixtures("database")


def test_notification_create_writes_a_delivery_and_a_message_for_each_user() -> None:
    """Each recipient's personal channel gets the event that docs/protocol.md names; a user named twice gets one."""
    notification = notification_create(["7", "ann@x.eu", "7"], "Title", "Body", {"n": [None, "\0"]})
    messages = OutboxMessage.objects.order_by("sequence")
    assert [message.channel for message in messages] == ["#7", "#ann@x.eu"]
    assert [json.loads(message.data) for message in messages] == 2 * [
        {
            "event": "notification.created",
            "notification": {
                "id": str(notification.id),
                "title": "Title",
                "body": "Body",
                "data": {"n": [None, "\0"]},
                "created_at": notification.created_at.isoformat().replace("+00:00", "Z"),
            },
        }
    ]
    deliveries = Delivery.objects.order_by("user_id")
    assert [(d.user_id, d.state, d.notification_id) for d in deliveries] == [
        ("7", "pending", notification.id),
        ("ann@x.eu", "pending", notification.id),
    ]
    assert {d.outbox_id for d in deliveries} == {message.id for message in messages}
    kept = notification_get(notification.id)
    assert kept is not None
    assert (kept.title, kept.body, kept.data_value) == ("Title", "Body", {"n": [None, "\0"]})


def test_notification_create_is_rolled_back_with_its_callers_transaction() -> None:
    """It is part of what the caller does."""

    def fail() -> None:
        with transaction.atomic():
            notification_create(["1"], "t", "b")
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    for model in (Notification, Delivery, OutboxMessage):
        assert not model.objects.exists()


@pytest.mark.parametrize(
    ("users", "title", "body", "data", "error"),
    [
        ([], "t", "b", None, DataInvalid),
        ("12", "t", "b", None, DataInvalid),
        ([str(number) for number in range(USERS_MAX + 1)], "t", "b", None, DataInvalid),
        (["a,b"], "t", "b", None, NameInvalid),
        ([7], "t", "b", None, NameInvalid),
        ([["7"]], "t", "b", None, NameInvalid),
        (["x" * 129], "t", "b", None, NameInvalid),
        (["1"], "", "b", None, DataInvalid),
        (["1"], "t" * 201, "b", None, DataInvalid),
        (["1"], "t\0", "b", None, DataInvalid),
        (["1"], 5, "b", None, DataInvalid),
        (["1"], "t", "b" * (BODY_MAX_CHARS + 1), None, DataInvalid),
        (["1"], "t", "\ud800", None, DataInvalid),
        (["1"], "t", "b", float("nan"), DataInvalid),
        (["1"], "t", "b", {"n": 2**64}, DataInvalid),
        (["1"], "t", "b", "x" * 65_400, PublicationTooLarge),
    ],
)
def test_notification_create_refuses_bad_input_and_writes_nothing(
    users: list[str], title: str, body: str, data: object, error: type[Exception]
) -> None:
    """Every rule has its error, and no row is left of a refused call."""
    with pytest.raises(error):
        notification_create(users, title, body, data)
    assert not Notification.objects.exists()


def test_notification_create_takes_its_most_users() -> None:
    """The limit itself is allowed, within one transaction."""
    notification = notification_create([str(number) for number in range(USERS_MAX)], "t", "", None)
    assert delivery_counts(notification) == {"pending": USERS_MAX}
    assert notification.data_value is None


def test_delivery_follows_its_message() -> None:
    """Sent, dead and requeued: the delivery says what the outbox says, from the same transaction."""
    notification = notification_create(["1", "2"], "t", "b")
    first, second = OutboxMessage.objects.order_by("sequence")
    messages_claim("w")
    messages_settle("w", sent=[first.id], failed=[Failure(second.id, "bad", None)])
    one, two = Delivery.objects.order_by("user_id")
    first.refresh_from_db()
    assert (one.state, one.sent_at) == ("sent", first.sent_at)
    assert (two.state, two.sent_at) == ("dead", None)
    assert delivery_counts(notification) == {"sent": 1, "dead": 1}
    messages_requeue([second.id])
    two.refresh_from_db()
    assert two.state == "pending"


def test_delivery_is_settled_in_the_transaction_of_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the delivery cannot be written, the message is not marked sent either."""
    notification_create(["1"], "t", "b")
    [message] = OutboxMessage.objects.all()
    messages_claim("w")

    monkeypatch.setattr("clarion.inbox.services.Delivery", None)  # any use of it raises
    with pytest.raises(AttributeError):
        messages_settle("w", sent=[message.id])
    message.refresh_from_db()
    assert message.state == MessageState.PENDING


def test_delivery_outlives_its_message(database: Database) -> None:
    """The clean-up of the outbox takes no notification with it."""
    notification = notification_create(["1"], "t", "b")
    [claimed] = messages_claim("w").messages
    messages_settle("w", sent=[claimed.id])
    assert messages_clean(timedelta(0)) == 1
    [delivery] = notification.deliveries.all()
    assert (delivery.state, delivery.outbox_id) == ("sent", None)


def test_deliveries_of_user_gives_the_newest_first() -> None:
    """A user's own, with what they tell."""
    for title in ("a", "b", "c"):
        notification_create(["1", "2"] if title == "b" else ["1"], title, "")
    assert [delivery.notification.title for delivery in deliveries_of_user("1")] == ["c", "b", "a"]
    assert [delivery.notification.title for delivery in deliveries_of_user("2")] == ["b"]
