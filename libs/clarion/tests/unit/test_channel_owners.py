"""clarion.channel_owners: when a layer channel ends."""

from __future__ import annotations

import asyncio

from clarion.channel_owners import ChannelOwners


async def maker(owners: ChannelOwners, channel: str, receives: bool) -> None:
    """A task that makes a channel, and perhaps receives a message from it."""
    owners.add(channel)
    if receives:
        with owners.receiving(channel):
            await asyncio.sleep(0)


async def turns() -> None:
    """Let callbacks run."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_owners_give_up_a_channel_when_its_maker_has_ended() -> None:
    """Received from, and by nobody now: the consumer is gone. Once, and not before."""
    given_up: list[str] = []
    owners = ChannelOwners(given_up.append)
    task = asyncio.ensure_future(maker(owners, "a", receives=True))
    await asyncio.sleep(0)
    assert given_up == []
    await task
    await turns()
    assert given_up == ["a"]
    assert (owners._owned, owners._receiving) == ({}, {})


async def test_owners_leave_a_channel_that_was_made_for_somebody_else() -> None:
    """``await asyncio.wait_for(layer.new_channel(), 5)`` makes it in a task that ends at once."""
    given_up: list[str] = []
    owners = ChannelOwners(given_up.append)
    await asyncio.ensure_future(maker(owners, "a", receives=False))
    await turns()
    with owners.receiving("a"):
        await turns()
    assert given_up == []


async def test_owners_leave_a_channel_that_is_received_from() -> None:
    """Whoever receives is not the maker, and goes on."""
    given_up: list[str] = []
    owners = ChannelOwners(given_up.append)
    task = asyncio.ensure_future(maker(owners, "a", receives=True))
    with owners.receiving("a"):
        await task
        await turns()
    assert given_up == []


async def test_owners_forget_a_channel_that_was_given_up() -> None:
    """A task that makes channels for ever does not collect them."""
    given_up: list[str] = []
    owners = ChannelOwners(given_up.append)
    for number in range(3):
        await asyncio.ensure_future(maker(owners, f"{number}", receives=False))

    async def make_many() -> None:
        for number in range(3):
            await maker(owners, f"mine {number}", receives=True)
            owners.remove(f"mine {number}")

    await asyncio.ensure_future(make_many())
    await turns()
    assert (given_up, owners._owned, owners._receiving) == ([], {}, {})
