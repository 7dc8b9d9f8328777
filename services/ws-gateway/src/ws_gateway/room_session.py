"""One client in a plain room: what it is told when it comes, what it sends, how it leaves.

Source: docs/protocol.md, "Plain rooms".
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from clarion.codes import CloseCode, RoomCloseCode
from clarion.errors import ClarionError, DataInvalid, PermissionRefused, TooManyRequests
from clarion.publications import publication
from clarion.server import Connection, text_frame
from clarion.values import json_decode, json_encode, publication_check
from ws_gateway.access import Admission
from ws_gateway.allowance import REFUSED_MAX, allowance_left
from ws_gateway.counts import ROOM, count
from ws_gateway.room_query import RoomQuery
from ws_gateway.wires import PLAIN, room_wire

if TYPE_CHECKING:
    from clarion.server import Deflate
    from ws_gateway.gateway import Gateway
    from ws_gateway.hub import Recovered

PUBLISHING_MAX: Final = 64
"""A client's frames that may wait for Redis; over it they are refused with ``too_many_requests``."""

LARGE_BYTES: Final = 131_072
"""What was missed and is over this goes out as the socket takes it: it was asked for and is no sign of slowness."""


class RoomSession:
    """A detached session of the server: it holds no task while nothing is under way."""

    __slots__ = (
        "_admission", "_allowance", "_allowed_at", "_author", "_connection", "_gateway", "_is_closed", "_publishing",
        "_wire", "write",
    )  # fmt: skip

    def __init__(self, gateway: Gateway, connection: Connection, admission: Admission) -> None:
        self.write = connection.write  # the hub's way in: no call of ours between it and the socket
        self._gateway = gateway
        self._connection = connection
        self._admission = admission
        self._wire = PLAIN
        self._is_closed = False
        # Made with the first frame: most clients only listen.
        self._publishing: deque[Any] | None = None
        self._author: dict[str, str] | None = None
        self._allowance: float | None = None
        self._allowed_at = 0.0

    def start(self, query: RoomQuery, recovered: Recovered | None, deflate: Deflate | None = None) -> None:
        """Make the client a member, unless it is gone already; called once the handshake has been answered, always.

        Args:
            recovered: what it has missed up to this very turn of the loop; None: it did not ask for that.
            deflate: it has agreed to compression.
        """
        self._gateway.rules.counts.connection_opened(ROOM)
        if self._is_closed:
            return
        # A channel without history has no position to lose.
        is_positioned = recovered is not None and recovered.epoch != ""
        self._wire = room_wire(envelope=query.envelope, is_positioned=is_positioned, deflate=deflate)
        frames = [_frame({"hello": self._hello()})] if query.hello else []
        if recovered is not None:
            place = {"recovered": recovered.ok, "offset": recovered.offset, "epoch": recovered.epoch}
            frames.append(_frame({"recover": place}))
            # Uncompressed: it may be long, and is for one client alone.
            wire = room_wire(envelope=query.envelope, is_positioned=is_positioned)
            frames += [wire.frame(kept.publication) for kept in recovered.publications]
        self._write(frames)
        self._gateway.hub.join(self._admission.channel, self, self._wire)

    def received(self, message: str | bytes) -> None:
        """Publish a client's frame, or answer what is wrong with it."""
        self._gateway.rules.counts.received["room"] += 1
        raw = message.encode() if isinstance(message, str) else message
        most = self._gateway.config.limits.room_frame_bytes
        if len(raw) > most:
            self._close(CloseCode.TOO_BIG, f"a frame has at most {most} bytes")
            return
        try:
            self._allow()
            if isinstance(message, bytes):
                raise DataInvalid("a frame is JSON text, not binary")
            self._publish(json_decode(raw))
        except ClarionError as exc:
            self._error(exc)

    def closed(self, code: int) -> None:
        """Leave the channel; what the client had sent before is still published."""
        self._is_closed = True
        self._gateway.rules.counts.connection_closed(ROOM)
        self._gateway.hub.leave(self._admission.channel, self, self._wire)

    def drain_wait(self) -> bool:
        """The server wants the client gone: tell whether it is still to get something."""
        return bool(self._publishing) or self._gateway.hub.is_writing(self._admission.channel)

    def slow(self) -> None:
        """Say that too much waits: come back and recover."""
        self._close(RoomCloseCode.SLOW, "this client reads too slowly")

    def position_lost(self, channel: str) -> None:
        """Say that publications were lost; see :class:`ws_gateway.wires.PositionedMember`."""
        self._close(RoomCloseCode.POSITION_LOST, "messages were lost: reload, then join without since")

    def _hello(self) -> dict[str, Any]:
        channel = self._admission.channel
        hello: dict[str, Any] = {"node": self._gateway.node, "channel": channel, "user": self._admission.user}
        offset, epoch = self._gateway.hub.position(channel)
        if epoch:  # it has a history, and Redis has said where that stands
            hello["offset"], hello["epoch"] = offset, epoch
        return hello

    def _allow(self) -> None:
        """Count a frame.

        Raises:
            TooManyRequests: say so first; who goes on all the same is sent away.
        """
        now, limits = self._gateway.now(), self._gateway.config.limits
        left = float(limits.commands_burst) if self._allowance is None else self._allowance
        self._allowance = allowance_left(left, now - self._allowed_at, limits)
        self._allowed_at = now
        if self._allowance < -REFUSED_MAX:
            self._close(RoomCloseCode.FLOOD, "too many frames: come back later")
        if self._allowance < 0:
            raise TooManyRequests

    def _publish(self, data: Any) -> None:
        publication_check(data, self._gateway.config.limits.publication_bytes)
        if not self._admission.may_publish:
            raise PermissionRefused("this user may not publish to this channel")
        if self._publishing is None:
            self._publishing = deque()
            self._author = {"user": self._admission.user, "client": self._gateway.new_id()}
        if len(self._publishing) >= PUBLISHING_MAX:
            raise TooManyRequests
        self._publishing.append(data)
        if len(self._publishing) == 1:  # else the task that sends the one before goes on with it: order is kept
            self._gateway.start_task(self._send_all(self._publishing))

    async def _send_all(self, waiting: deque[Any]) -> None:
        while waiting:
            try:
                message = publication(waiting[0], info=self._author)
                await self._gateway.layer.group_send(self._admission.channel, message)
                self._gateway.rules.counts.published += 1
            except ClarionError as exc:
                self._gateway.rules.counts.unpublished += 1
                self._error(exc)
            finally:
                waiting.popleft()

    def _close(self, code: CloseCode | RoomCloseCode, reason: str) -> None:
        count(self._gateway.rules.counts.disconnects, int(code))
        self._connection.close(code, reason)

    def _error(self, exc: ClarionError) -> None:
        count(self._gateway.rules.counts.errors, exc.code)
        self.write(_frame({"error": {"code": exc.code, "message": exc.detail}}))

    def _write(self, frames: list[bytes]) -> None:
        if sum(map(len, frames)) > LARGE_BYTES:
            self._connection.write_large(frames)
        elif frames:
            self.write(b"".join(frames))


def _frame(value: Any) -> bytes:
    return text_frame(json_encode(value))
