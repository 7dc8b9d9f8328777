"""Who may do what on a channel, and why: one decision for the gateway, the plain rooms and ``clarion check-config``.

Pure: no I/O, no clock. A token has been verified before; what it grants comes in as ``granted``. The rules are those
of Centrifugo v6, except that a personal or user-limited channel is closed to everybody else for every right, not only
for subscribing.

Source: docs/protocol.md, "Namespace options".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from clarion.errors import ClarionError, NameInvalid, NamespaceUnknown, NotAvailable, PermissionRefused
from clarion.names import channel_check, limited_users, personal_user
from clarion.namespaces import ChannelOptions, ClarionConfig


@dataclass(frozen=True, slots=True)
class Decision:
    """Yes or no, and why.

    Attributes:
        allowed: the answer.
        reason: for operators and logs: it names the option that decides. Not for clients.
        error: what a refused client is answered with.
        detail: the text of that answer.
    """

    allowed: bool
    reason: str
    error: type[ClarionError] | None = None
    detail: str = ""

    def check(self) -> None:
        """Raise the refusal, if it is one.

        Raises:
            NameInvalid: protocol error 107, close code 4400.
            NamespaceUnknown: 102, 4404.
            PermissionRefused: 103, 4403.
            NotAvailable: 108.
        """
        if self.error is not None:
            raise self.error(self.detail)


_INSECURE: Final = Decision(True, "client.insecure is on: anyone may do anything")
_OWNER: Final = Decision(True, "it is this user's personal channel")
_LISTED: Final = Decision(True, "the channel's name lists this user (allow_user_limited_channels)")
_GRANTED: Final = Decision(True, "a token grants this channel")


def may_subscribe(config: ClarionConfig, channel: str, user: str, *, granted: bool = False) -> Decision:
    """Decide whether a client may subscribe.

    Args:
        user: the client's user id; "" is anonymous.
        granted: a subscription token for this channel, or the connection token's ``channels`` or ``subs``, says so.
    """
    options = _options(config, channel)
    if isinstance(options, Decision):
        return options
    if (owner := personal_user(channel)) is not None:  # for its user alone, whatever a token grants
        return _OWNER if user == owner else _refused(config, "subscribe", "it is another user's personal channel")
    if granted:
        return _GRANTED
    if (listed := _is_listed(options, channel, user)) is not None:
        return _LISTED if listed else _refused(config, "subscribe", _NOT_LISTED)
    return _by_option(
        config,
        "subscribe",
        user,
        for_client=options.allow_subscribe_for_client,
        for_anonymous=options.allow_subscribe_for_anonymous,
    )


def may_publish(config: ClarionConfig, channel: str, user: str, *, is_subscribed: bool = False) -> Decision:
    """Decide whether a client may publish; the arguments are those of :func:`may_history`."""
    options = _options(config, channel)
    if isinstance(options, Decision):
        return options
    return _stranger(config, "publish", options, channel, user, is_subscribed) or _by_option(
        config,
        "publish",
        user,
        is_subscribed=is_subscribed,
        for_client=options.allow_publish_for_client,
        for_subscriber=options.allow_publish_for_subscriber,
        for_anonymous=options.allow_publish_for_anonymous,
    )


def may_history(config: ClarionConfig, channel: str, user: str, *, is_subscribed: bool = False) -> Decision:
    """Decide whether a client may read the channel's history.

    Args:
        user: the client's user id; "" is anonymous.
        is_subscribed: the client is subscribed to the channel, or is about to be.
    """
    options = _options(config, channel)
    if isinstance(options, Decision):
        return options
    if not options.has_history:
        return _not_available("history", "history_size and history_ttl are not set", "keeps")
    return _stranger(config, "history", options, channel, user, is_subscribed) or _by_option(
        config,
        "history",
        user,
        is_subscribed=is_subscribed,
        for_client=options.allow_history_for_client,
        for_subscriber=options.allow_history_for_subscriber,
        for_anonymous=options.allow_history_for_anonymous,
    )


def may_presence(config: ClarionConfig, channel: str, user: str, *, is_subscribed: bool = False) -> Decision:
    """Decide whether a client may ask who is on the channel; the arguments are those of :func:`may_history`."""
    options = _options(config, channel)
    if isinstance(options, Decision):
        return options
    if not options.presence:
        return _not_available("presence", "presence is off")
    return _by_presence(config, options, channel, user, is_subscribed)


def may_joins(config: ClarionConfig, channel: str, user: str) -> Decision:
    """Decide whether a subscriber that asks for joins and leaves gets them: by the rights of the presence.

    Under ``force_push_join_leave`` every subscriber gets them, asked for or not.
    """
    options = _options(config, channel)
    if isinstance(options, Decision):
        return options
    if not options.join_leave:
        return _not_available("joins", "join_leave is off")
    if options.force_push_join_leave:
        return _allowed("force_push_join_leave is on")
    return _by_presence(config, options, channel, user, is_subscribed=True)


def _by_presence(
    config: ClarionConfig, options: ChannelOptions, channel: str, user: str, is_subscribed: bool
) -> Decision:
    return _stranger(config, "presence", options, channel, user, is_subscribed) or _by_option(
        config,
        "presence",
        user,
        is_subscribed=is_subscribed,
        for_client=options.allow_presence_for_client,
        for_subscriber=options.allow_presence_for_subscriber,
        for_anonymous=options.allow_presence_for_anonymous,
    )


_NOT_LISTED: Final = "the channel's name does not list this user (allow_user_limited_channels)"
_TOLD: Final = {
    "subscribe": "this user may not subscribe to this channel",
    "publish": "this user may not publish to this channel",
    "history": "this user may not read this channel's history",
    "presence": "this user may not see who is on this channel",
}


def _options(config: ClarionConfig, channel: str) -> ChannelOptions | Decision:
    """The channel's options, or why there is no such channel."""
    try:
        options = config.options_of(channel_check(channel))
        options.name_check(channel)
    except (NameInvalid, NamespaceUnknown) as exc:
        return Decision(False, exc.detail, type(exc), exc.detail)
    return options


def _is_listed(options: ChannelOptions, channel: str, user: str) -> bool | None:
    """Whether a user-limited channel is this user's; None: the channel is not user-limited."""
    if not options.allow_user_limited_channels or (users := limited_users(channel)) is None:
        return None
    return user != "" and user in users


def _stranger(
    config: ClarionConfig, what: str, options: ChannelOptions, channel: str, user: str, is_subscribed: bool
) -> Decision | None:
    """Refuse who is not one of the users that the channel's name is for; a token may have subscribed them."""
    owner = personal_user(channel)
    if owner is not None and user != owner:
        return _refused(config, what, "it is another user's personal channel")
    if owner is None and not is_subscribed and _is_listed(options, channel, user) is False:
        return _refused(config, what, _NOT_LISTED)
    return None


def _by_option(
    config: ClarionConfig,
    what: str,
    user: str,
    *,
    for_client: bool,
    for_anonymous: bool,
    for_subscriber: bool = False,
    is_subscribed: bool = False,
) -> Decision:
    """Decide by the ``allow_<what>_for_…`` options."""
    if for_client or (for_subscriber and is_subscribed):
        if user or for_anonymous:
            return _allowed(f"allow_{what}_for_client is on" if for_client else f"allow_{what}_for_subscriber is on")
        return _refused(config, what, f"the client has no user id, and allow_{what}_for_anonymous is off")
    if for_subscriber:
        reason = f"allow_{what}_for_subscriber is on, and the client is not subscribed; allow_{what}_for_client is off"
        return _refused(config, what, reason)
    return _refused(config, what, f"allow_{what}_for_client is off")


@cache
def _allowed(reason: str) -> Decision:
    return Decision(True, reason)


def _refused(config: ClarionConfig, what: str, reason: str) -> Decision:
    return _INSECURE if config.client.insecure else _refusal(what, reason)


@cache
def _refusal(what: str, reason: str) -> Decision:
    return Decision(False, reason, PermissionRefused, _TOLD[what])


@cache
def _not_available(what: str, reason: str, verb: str = "has") -> Decision:
    return Decision(False, reason, NotAvailable, f"this channel {verb} no {what}")
