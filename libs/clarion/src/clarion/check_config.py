"""``clarion check-config``: what a ``clarion.toml`` means, without starting anything.

Source: docs/how-to/configure-channels.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from clarion.durations import Duration
from clarion.env import production_problems
from clarion.errors import NameInvalid, NamespaceUnknown
from clarion.names import limited_users, personal_user, user_id_check
from clarion.namespaces import ChannelOptions, ClarionConfig, Namespace
from clarion.permissions import Decision, may_history, may_joins, may_presence, may_publish, may_subscribe

_WIDTH: Final = 12
_ANY_OTHER: Final = "\0"
"""Stands for a user whom no name lists."""


def config_report(config: ClarionConfig, path: Path | None) -> Iterator[str]:
    """What the file defines, and what is doubtful in it.

    Args:
        path: the file; None: there is none, and these are the defaults.
    """
    names = ", ".join(namespace.name for namespace in config.channel.namespaces) or "none"
    plain = "defined" if config.channel.without_namespace is not None else "do not exist"
    if path:
        yield f"{path}: no problems"
    else:
        yield "no file was checked: neither --config nor CLARION_CONFIG names one; what follows are the defaults"
    yield f"namespaces: {names}; channels without a namespace: {plain}"
    for warning in config.warnings():
        yield f"warning: {warning}"
    for problem in production_problems(config.client):
        yield f"warning: production refuses {problem}"


def channel_report(config: ClarionConfig, channel: str, users: Sequence[str] | None) -> Iterator[str]:
    """What holds for one channel, and what each user may do there and why.

    Args:
        users: user ids, "" is a client without one; None: those whom the channel's name is for, any other, and "".
    """
    yield ""
    try:
        options = config.options_of(channel)
    except NamespaceUnknown as exc:
        yield f"channel {channel!a}: {exc.detail}"
        return
    yield f"channel {channel!a}: {_origin(options, channel)}"
    for name, value in _set_options(options):
        yield f"  {name} = {value}"
    named = [user] if (user := personal_user(channel)) else list(limited_users(channel) or ())
    for user in (*named, _ANY_OTHER, "") if users is None else users:
        yield ""
        yield from _user_report(config, channel, user)


def _user_report(config: ClarionConfig, channel: str, user: str) -> Iterator[str]:
    if user == _ANY_OTHER:
        yield "any other client with a user id"
    elif user:
        yield f"user {user!a}"
        try:
            user_id_check(user)
        except NameInvalid as exc:
            yield f"  {exc.detail}"
            return
    else:
        yield "a client without a user id"
    yield from _rights(config, channel, user)


def _origin(options: ChannelOptions, channel: str) -> str:
    if isinstance(options, Namespace):
        return f"namespace {options.name}"
    owner = personal_user(channel)
    return "channel.without_namespace" if owner is None else f"the personal channel of user {owner!a}"


def _set_options(options: ChannelOptions) -> Iterator[tuple[str, str]]:
    """The options that are not off."""
    off = ChannelOptions()
    for name in ChannelOptions.model_fields:
        value = getattr(options, name)
        if value == getattr(off, name) or (name == "history_meta_ttl" and not options.has_history):
            continue
        yield name, _toml(value)


def _toml(value: object) -> str:
    """A value as the file would have it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, Duration)):
        return f'"{value}"'
    return "[" + ", ".join(f'"{item}"' for item in value) + "]" if isinstance(value, list) else str(value)


def _rights(config: ClarionConfig, channel: str, user: str) -> Iterator[str]:
    subscribe = may_subscribe(config, channel, user)
    yield _line("subscribe", subscribe)
    if not subscribe.allowed and may_subscribe(config, channel, user, granted=True).allowed:
        yield f"{'':{_WIDTH}}with a token that grants the channel: yes"
    for name, may in (("publish", may_publish), ("history", may_history), ("presence", may_presence)):
        before, after = may(config, channel, user), may(config, channel, user, is_subscribed=True)
        if before.allowed == after.allowed:
            yield _line(name, before)
        else:
            yield _line(name, after, " while subscribed")
    yield _line("joins", may_joins(config, channel, user))


def _line(name: str, decision: Decision, when: str = "") -> str:
    return f"  {name:{_WIDTH - 2}}{'yes' if decision.allowed else 'no'}{when}: {decision.reason}"
