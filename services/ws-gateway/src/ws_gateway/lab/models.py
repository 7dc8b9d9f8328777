"""What a room of the lab remembers. Copy it along with ``room.py``."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.db import models, transaction

HISTORY: Final = 50
"""Messages that who joins is shown."""
ROOM_KEPT: Final = 200
ALL_KEPT: Final = 20_000
"""Over these the oldest rows go, with the next message: a lab that is open to everyone must not fill the database."""


class RoomMessage(models.Model):
    """One message of one room, with its author."""

    room = models.CharField(max_length=64)
    author = models.CharField(max_length=150)
    text = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["room", "-id"], name="lab_room_newest")]

    def __str__(self) -> str:
        return f"{self.author} in {self.room}"

    def as_json(self) -> dict[str, Any]:
        """The message as pages get it, in the history and live."""
        return {"id": self.pk, "author": self.author, "msg": self.text, "time": self.created_at.isoformat()}


def history_of(room: str) -> list[dict[str, Any]]:
    """The room's last messages, the oldest first."""
    newest = RoomMessage.objects.filter(room=room).order_by("-id")[:HISTORY]
    return [message.as_json() for message in reversed(newest)]


def message_save(room: str, author: str, text: str) -> dict[str, Any]:
    """Save a message and forget the oldest ones."""
    with transaction.atomic():
        message = RoomMessage.objects.create(room=room, author=author, text=text)
        RoomMessage.objects.filter(pk__lte=message.pk - ALL_KEPT).delete()
        for oldest in (
            RoomMessage.objects.filter(room=room).order_by("-id").values_list("pk", flat=True)[ROOM_KEPT:][:1]
        ):
            RoomMessage.objects.filter(room=room, pk__lte=oldest).delete()
    return message.as_json()
