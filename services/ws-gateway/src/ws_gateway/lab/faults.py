"""What can go wrong on a channel layer, shown on purpose. Copy it along with ``direct.py``."""

from __future__ import annotations

import asyncio
from typing import Any

from channels.exceptions import ChannelFull, MessageTooLarge
from channels.layers import InMemoryChannelLayer

GROUP = "lab.faults"


async def show_too_large(layer: Any, name: str) -> dict[str, Any]:
    """Send 2 MiB: our layer refuses what is over 1 MiB, stock channels_redis puts it into everyone's memory."""
    try:
        await layer.send(name, {"type": "direct.message", "msg": "x" * 2**21, "from": name})
    except MessageTooLarge:
        return {"caught": "MessageTooLarge", "note": "this layer takes 1 MiB: nothing was sent"}
    return {"caught": None, "note": "this layer has no limit"}


async def show_full(_layer: Any, _name: str) -> dict[str, Any]:
    """ChannelFull comes from a layer that can see the queue it fills, as the in-memory one does.

    Over pub/sub the queue is in the receiver's process: the sender is never told, and ClarionChannelLayer drops the
    oldest message there. The core layer of channels_redis raises ChannelFull too, but not in ``group_send``.
    """
    layer = InMemoryChannelLayer(capacity=3)
    for sent in range(100):
        try:
            await layer.send("nobody-reads", {"type": "direct.message"})
        except ChannelFull:
            return {"caught": "ChannelFull", "sent": sent, "note": "in memory; a pub/sub sender is never told"}
    return {"caught": None, "note": "no limit was met"}


async def show_dead_member(layer: Any, _name: str) -> dict[str, Any]:
    """A consumer that ended by an exception has not called ``group_discard``: is it still a member?

    In the core and in-memory layers until ``group_expiry``, a day; in the stock pub/sub layer as long as the process
    lives; in ClarionChannelLayer it leaves its groups when it ends.
    """
    layers = (layer, InMemoryChannelLayer())
    left = {type(each).__name__: await is_left_behind(each) for each in layers}
    return {"still_member": left, "note": "call group_discard in disconnect, and do not count on it"}


async def is_left_behind(layer: Any) -> bool:
    """Let a member of a group die as an exception in its consumer kills it, and look for it in the group."""
    name = await layer.new_channel()
    receiving = asyncio.ensure_future(layer.receive(name))
    await asyncio.sleep(0)  # it has begun to wait
    try:
        await layer.group_add(GROUP, name)
    finally:
        receiving.cancel()  # all that Channels does when a consumer has raised
        await asyncio.wait([receiving])
    is_member = any(name in members for members in layer.groups.values())
    await layer.group_discard(GROUP, name)
    return is_member


FAULTS = {"too_large": show_too_large, "full": show_full, "dead_member": show_dead_member}
