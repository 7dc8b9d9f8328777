"""Notifications, deliveries and the outbox in the admin: read, and dead letters sent again."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from clarion.inbox.models import Delivery, Notification
from clarion.inbox.services import notification_create
from clarion.outbox.models import MessageState, OutboxMessage

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client: Client) -> Client:
    """An administrator's client."""
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.mark.parametrize(
    "model", ["clarion_inbox/notification", "clarion_inbox/delivery", "clarion_outbox/outboxmessage"]
)
def test_rows_can_be_read_and_nothing_else(staff: Client, model: str) -> None:
    """List and page are there; adding, changing and deleting are refused, even for an administrator."""
    notification = notification_create(["42"], "Hello", "body")
    delivery = Delivery.objects.get()
    pk = {"notification": notification.pk, "delivery": delivery.pk, "outboxmessage": delivery.outbox_id}[
        model.split("/")[1]
    ]
    assert staff.get(f"/admin/{model}/?q=42").status_code == 200
    assert staff.get(f"/admin/{model}/{pk}/change/").status_code == 200
    assert staff.post(f"/admin/{model}/{pk}/change/", {"title": "x"}).status_code == 403
    assert staff.post(f"/admin/{model}/{pk}/delete/", {"post": "yes"}).status_code == 403
    assert staff.get(f"/admin/{model}/add/").status_code == 403
    assert Notification.objects.get().title == "Hello"


def test_dead_messages_are_sent_again(staff: Client) -> None:
    """The action requeues the dead ones among the chosen, and their deliveries follow."""
    notification_create(["1", "2"], "Hello", "")
    dead, alive = OutboxMessage.objects.order_by("sequence")
    OutboxMessage.objects.filter(pk=dead.pk).update(state=MessageState.DEAD, attempts=9)
    Delivery.objects.filter(outbox=dead).update(state=MessageState.DEAD)
    chosen = {"action": "requeue", "_selected_action": [dead.pk, alive.pk]}
    page = staff.post("/admin/clarion_outbox/outboxmessage/", chosen, follow=True)
    assert "Sent again: 1." in page.content.decode()
    dead.refresh_from_db()
    assert (dead.state, dead.attempts) == (MessageState.PENDING, 0)
    assert Delivery.objects.get(outbox=dead).state == MessageState.PENDING


def test_sending_again_is_not_for_every_reader(client: Client) -> None:
    """Staff who may only look are not offered the action, and a forged form does nothing."""
    from django.contrib.auth.models import Permission

    reader = User.objects.create_user("reader", is_staff=True)
    reader.user_permissions.add(Permission.objects.get(codename="view_outboxmessage"))
    client.force_login(reader)
    notification_create(["1"], "Hello", "")
    OutboxMessage.objects.update(state=MessageState.DEAD)
    row = OutboxMessage.objects.get()
    client.post("/admin/clarion_outbox/outboxmessage/", {"action": "requeue", "_selected_action": [row.pk]})
    row.refresh_from_db()
    assert row.state == MessageState.DEAD
