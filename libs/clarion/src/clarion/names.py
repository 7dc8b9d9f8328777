"""Names: channels, user ids, and every Redis key and channel that Clarion uses.

A channel is the address that a client subscribes to and, letter for letter, the Channels *group*. Its name is 1 to
200 printable ASCII characters, no space and none of ``/ \\ " % ? *``, case-sensitive. What stands before the first
``:`` is its namespace; a name that starts with ``#`` is the personal channel of one user and in no namespace.
A user id is 1 to 128 such characters, none of them ``,`` or ``#``.

Source: docs/glossary.md; ADR-0001.
"""

from __future__ import annotations

import re
from typing import Final

from clarion.errors import NameInvalid

CHANNEL_MAX_CHARS: Final = 200
USER_ID_MAX_CHARS: Final = 128
FORBIDDEN_CHARS: Final = '/\\"%?*'
PERSONAL_PREFIX: Final = "#"

_CHANNEL = re.compile(r"[!#$&-)+-.0->@-\[\]-~]{1,200}")
_BAD_CHAR = re.compile(r"[^!#$&-)+-.0->@-\[\]-~]")


def channel_check(channel: object) -> str:
    """Return the channel's name if it follows the rules.

    Raises:
        NameInvalid: HTTP 400, protocol error 107, close code 4400; the text says which rule was broken.
    """
    if isinstance(channel, str) and _CHANNEL.fullmatch(channel):
        if channel[0] == PERSONAL_PREFIX:
            user_id_check(channel[1:])
        return channel
    raise NameInvalid(_broken_rule("a channel's name", channel, CHANNEL_MAX_CHARS))


def user_id_check(user_id: object) -> str:
    """Return the user id if it follows the rules.

    Raises:
        NameInvalid: HTTP 400, protocol error 107; the text says which rule was broken.
    """
    if not isinstance(user_id, str) or not _CHANNEL.fullmatch(user_id) or len(user_id) > USER_ID_MAX_CHARS:
        raise NameInvalid(_broken_rule("a user id", user_id, USER_ID_MAX_CHARS))
    if "," in user_id or "#" in user_id:
        raise NameInvalid("a user id holds neither ',' nor '#'")
    return user_id


def _broken_rule(what: str, name: object, max_chars: int) -> str:
    if not isinstance(name, str):
        return f"{what} is text, not {type(name).__name__}"
    if not 1 <= len(name) <= max_chars:
        return f"{what} has 1 to {max_chars} characters, not {len(name)}"
    bad = _BAD_CHAR.search(name)
    assert bad is not None  # neither type nor length: a character broke the rule
    return (
        f"{what} holds printable ASCII without a space and without any of {FORBIDDEN_CHARS}: "
        f"{bad.group()!a} at position {bad.start()} is not allowed"
    )


def namespace_of(channel: str) -> str | None:
    """The part before the first ``:``, or None for a channel without one and for a personal channel."""
    if channel.startswith(PERSONAL_PREFIX):
        return None
    namespace, colon, _ = channel.partition(":")
    return namespace if colon else None


def personal_channel(user_id: str) -> str:
    """The channel that only this user may join.

    Raises:
        NameInvalid: the user id breaks a rule.
    """
    return PERSONAL_PREFIX + user_id_check(user_id)


def personal_user(channel: str) -> str | None:
    """The user whose personal channel this is, or None."""
    return channel[1:] if channel.startswith(PERSONAL_PREFIX) else None


def limited_users(channel: str) -> tuple[str, ...] | None:
    """The users whom a user-limited name lists, e.g. ``("1", "2")`` of ``chat:room#1,2``; None without a list.

    What counts is the namespace's ``allow_user_limited_channels``: without it ``#`` is a character like any other.
    """
    _, boundary, users = channel.rpartition(PERSONAL_PREFIX)
    return tuple(user for user in users.split(",") if user) if boundary else None


def redis_group(prefix: str, channel: str) -> str:
    """The Redis pub/sub channel of a group: the stock pub/sub layer's name for it (channels_redis/pubsub.py)."""
    return f"{prefix}__group__{channel}"


def redis_meta(prefix: str, channel: str) -> str:
    """The hash of a recoverable channel: its top offset ``o`` and its epoch ``e``."""
    return f"{prefix}__meta__{channel}"


def redis_stream(prefix: str, channel: str) -> str:
    """The stream of a recoverable channel: an entry's id is its offset, its one field ``m`` the whole message."""
    return f"{prefix}__stream__{channel}"


def redis_idempotency(prefix: str, channel: str, key: str) -> str:
    """What became of a publish under an idempotency key. No channel's name holds a ``/``: two never share one."""
    return f"{prefix}__idem__{channel}/{key}"


def redis_presence(prefix: str, channel: str) -> str:
    """The hash of who is in a channel."""
    return f"{prefix}__presence__{channel}"


def redis_nodes(prefix: str) -> str:
    """The sorted set of gateways by their last heartbeat, on every shard."""
    return f"{prefix}__nodes"


def redis_node(prefix: str, node: str) -> str:
    """The hash of one gateway: its facts, and which of its writes Redis has."""
    return f"{prefix}__node__{node}"


def redis_node_entries(prefix: str, node: str) -> str:
    """The set of one gateway's presence entries, each ``<client> <channel>``."""
    return f"{prefix}__node_entries__{node}"


def redis_control(prefix: str, node: str | None = None) -> str:
    """The pub/sub channel of commands to one gateway, or to all."""
    return f"{prefix}__control" if node is None else f"{prefix}__control__{node}"


def redis_reply(prefix: str, request_id: str) -> str:
    """The pub/sub channel on which gateways answer one question."""
    return f"{prefix}__reply__{request_id}"


def consumer_channel_check(prefix: str, channel: object) -> str:
    """Return a layer channel's name if it is one consumer's own (``self.channel_name``) and nothing else's.

    A layer's ``send`` takes any Redis channel: what a client names as an address must not be a group.

    Raises:
        NameInvalid: HTTP 400.
    """
    if isinstance(channel, str) and re.fullmatch(rf"{re.escape(prefix)}specific\.[0-9a-f]{{32}}", channel):
        return channel
    raise NameInvalid("this is not the channel_name of a consumer")


def lab_tasks_channel(prefix: str) -> str:
    """The layer channel on which the lab's worker page asks for a background task; every notifier receives it."""
    return f"{prefix}.lab-tasks"


def lab_task_claim(prefix: str, task_id: str) -> str:
    """The Redis key that the notifier sets that runs a task of the lab."""
    return f"{prefix}.lab-task.{task_id}"
