"""A running notifier on real servers: what is committed arrives, in order, once when nothing dies."""

from __future__ import annotations

import json
from collections import Counter

from django.db import transaction

import clarion
from clarion.inbox.models import Delivery, Notification
from clarion.inbox.services import notification_create
from clarion.outbox.models import MessageState, OutboxMessage
from clarion.outbox.services import outbox_add
from tests.support.databases import Database
from tests.support.notifier_process import Ear, OpenEar, StartNotifier
from tests.support.waiting import wait_until

DEADLINE_S = 60.0


def all_sent() -> bool:
    return not OutboxMessage.objects.exclude(state=MessageState.SENT).exists()


def test_notifier_sends_a_notification_to_its_recipients(start: StartNotifier, ear: Ear) -> None:
    """Each user's own channel gets the event; rows and deliveries say sent."""
    start()
    notification = notification_create(["7", "8"], "Hello", "World", {"n": 1})
    wait_until(lambda: len(ear.heard) == 2, DEADLINE_S)
    event = {
        "event": "notification.created",
        "notification": {
            "id": str(notification.id),
            "title": "Hello",
            "body": "World",
            "data": {"n": 1},
            "created_at": notification.created_at.isoformat().replace("+00:00", "Z"),
        },
    }
    message = {"type": "clarion.publication", "data": event}
    assert sorted(ear.heard, key=lambda heard: heard[0]) == [("#7", message), ("#8", message)]
    wait_until(all_sent, DEADLINE_S)
    assert set(Delivery.objects.values_list("state", flat=True)) == {"sent"}
    assert not Delivery.objects.filter(sent_at=None).exists()


def test_notifier_sends_what_was_committed_before_it_started(start: StartNotifier, ear: Ear) -> None:
    """A backlog is drained, and only what was committed."""
    with transaction.atomic():
        clarion.publish("chat:x", "kept")
        savepoint = transaction.savepoint()
        clarion.publish("chat:x", "rolled back")
        transaction.savepoint_rollback(savepoint)
    start()
    clarion_publish("chat:x", "after")
    wait_until(lambda: len(ear.heard) >= 2, DEADLINE_S)
    assert ear.data() == ["kept", "after"]


def clarion_publish(channel: str, data: object) -> None:
    with transaction.atomic():
        clarion.publish(channel, data)


def test_notifier_sends_any_json_as_an_equal_value(start: StartNotifier, ear: Ear) -> None:
    """What jsonb would refuse or mix up, too."""
    values = [
        None,
        True,
        0,
        -(2**63),
        2**64 - 1,
        1.5,
        "",
        "\0é\u2028😀",
        [],
        {},
        {"": [{}], "b": 1, "a": 2},
        "x" * 60_000,
    ]
    start()
    outbox_add([("chat:x", value) for value in values])
    wait_until(lambda: len(ear.heard) == len(values), DEADLINE_S)
    assert ear.data() == values
    assert [json.dumps(value) for value in ear.data()] == [json.dumps(value) for value in values]  # True is not 1


def test_two_notifiers_send_each_row_once_and_in_order(start: StartNotifier, ear: Ear) -> None:
    """Per channel the order of commits, with rows added while both work."""
    start(wait=False)
    start()
    for part in range(5):
        outbox_add([(f"chat:{number % 40}", part * 400 + number) for number in range(400)])
    wait_until(lambda: len(ear.heard) >= 2000 and all_sent(), DEADLINE_S)
    assert len(ear.heard) == 2000
    for channel in range(40):
        numbers = ear.data(f"chat:{channel}")
        assert numbers == sorted(numbers)
        assert len(set(numbers)) == 50


def test_notifier_drains_one_busy_channel_quickly(start: StartNotifier, ear: Ear) -> None:
    """A channel is drained in runs, not a row a transaction: 3,000 rows are 30 claims."""
    outbox_add([("chat:hot", number) for number in range(3000)])
    notifier = start()
    wait_until(lambda: len(ear.heard) >= 3000, DEADLINE_S)
    assert ear.data() == list(range(3000))
    wait_until(all_sent, DEADLINE_S)
    wait_until(lambda: sum(batch["sent"] for batch in notifier.events("batch.settled")) == 3000, DEADLINE_S)
    assert len(notifier.events("batch.settled")) == 30


def test_row_that_cannot_be_sent_dies_and_blocks_no_other_channel(start: StartNotifier, ear: Ear) -> None:
    """It counts attempts of its own, ends dead, and what is behind it in its channel comes after that."""
    notification = notification_create(["1", "2"], "t", "b")
    bad = OutboxMessage.objects.get(channel="#1")
    OutboxMessage.objects.filter(id=bad.id).update(data='{"not": json}')
    outbox_add([("#1", "behind"), ("chat:x", "beside")])
    notifier = start(CLARION_NOTIFIER_ATTEMPTS="3", CLARION_NOTIFIER_RETRY_S="0.3")
    wait_until(lambda: len(ear.heard) == 3, DEADLINE_S)
    assert ear.data("chat:x") == ["beside"]
    assert ear.data("#1") == ["behind"]
    assert ear.heard[-1][0] == "#1", "what is behind a failing row waits for it"
    bad.refresh_from_db()
    assert (bad.state, bad.attempts) == (MessageState.DEAD, 3)
    assert bad.last_error.startswith("json_malformed: ")
    states = dict(Delivery.objects.values_list("user_id", "state"))
    wait_until(lambda: dict(Delivery.objects.values_list("user_id", "state")) == {"1": "dead", "2": "sent"}, DEADLINE_S)
    assert set(states) == {"1", "2"}
    [died] = notifier.events("message.died")
    assert (died["message_id"], died["attempts"]) == (str(bad.id), 3)
    assert Notification.objects.get() == notification


def test_a_bad_channel_name_dies_too(start: StartNotifier, ear: Ear) -> None:
    """Whatever is wrong with a row is the row's matter."""
    [row] = outbox_add([("chat:x", 1)])
    OutboxMessage.objects.filter(id=row.id).update(channel="not a name")
    outbox_add([("chat:y", 2)])
    start(CLARION_NOTIFIER_ATTEMPTS="1")
    wait_until(lambda: OutboxMessage.objects.filter(state=MessageState.DEAD).count() == 1, DEADLINE_S)
    wait_until(lambda: ear.data() == [2], DEADLINE_S)
    row.refresh_from_db()
    assert row.last_error.startswith("name_invalid: ")


def test_notifier_cleans_what_is_older_than_it_keeps(start: StartNotifier, ear: Ear) -> None:
    """At its start, and then from time to time."""
    outbox_add([("chat:x", 1)])
    first = start()
    wait_until(all_sent, DEADLINE_S)
    assert first.stop() == 0
    notifier = start(CLARION_OUTBOX_KEEP_DAYS="0")
    wait_until(lambda: not OutboxMessage.objects.exists(), DEADLINE_S)
    wait_until(lambda: [event["rows"] for event in notifier.events("outbox.cleaned")] == [1], DEADLINE_S)


def test_notifier_uses_its_own_prefix(start: StartNotifier, ear: Ear, database: Database, listen: OpenEar) -> None:
    """Two deployments on one Redis do not hear each other."""
    start(CLARION_LAYER_PREFIX="other")
    outbox_add([("chat:x", 1)])
    wait_until(all_sent, DEADLINE_S)
    assert ear.heard == []
    assert Counter(OutboxMessage.objects.values_list("state", flat=True)) == {"sent": 1}
