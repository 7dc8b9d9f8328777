"""Who may do what: the rules of plain rooms, without I/O.

Source: docs/protocol.md, "Plain rooms".
"""

from __future__ import annotations

from dataclasses import dataclass

from clarion.errors import PermissionRefused, Unauthorized
from clarion.namespaces import ClarionConfig
from clarion.permissions import may_history, may_publish, may_subscribe


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a client is.

    Attributes:
        user: the user id; "" is anonymous.
        has_token: a valid token said so (else a session cookie, or nothing).
        grants: channels that the token grants.
    """

    user: str = ""
    has_token: bool = False
    grants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Admission:
    """What a client that may join is allowed to do.

    Attributes:
        may_recover: it gets what it missed, if the history holds it.
    """

    channel: str
    user: str
    may_publish: bool
    may_recover: bool


def room_admit(config: ClarionConfig, channel: str, identity: Identity) -> Admission:
    """Decide whether a client may join a plain room.

    Raises:
        NameInvalid: close code 4400.
        Unauthorized: 4401; nobody is signed in, and the room is not open to that.
        PermissionRefused: 4403; this user may not.
        NamespaceUnknown: 4404.
    """
    decision = may_subscribe(config, channel, identity.user, granted=channel in identity.grants)
    if decision.error is PermissionRefused and not identity.user and not identity.has_token:
        raise Unauthorized("sign in, or send a token")
    decision.check()
    return Admission(
        channel=channel,
        user=identity.user,
        may_publish=may_publish(config, channel, identity.user, is_subscribed=True).allowed,
        may_recover=_may_recover(config, channel, identity.user),
    )


def _may_recover(config: ClarionConfig, channel: str, user: str) -> bool:
    """Whether the namespace lets a subscription be recoverable: the rule of the client protocol."""
    options = config.options_of(channel)
    if not options.has_history:
        return False
    if options.force_recovery or options.allow_recovery:
        return True
    return may_history(config, channel, user, is_subscribed=True).allowed


def origin_check(
    origin: str | None, allowed: frozenset[str], *, has_token: bool, has_cookie: bool, insecure: bool = False
) -> None:
    """Refuse a browser page of a foreign origin; only a token may come without any Origin.

    Args:
        insecure: ``client.insecure``: no Origin is as good as a token. A foreign page stays out.

    Raises:
        PermissionRefused: close code 4403.
        Unauthorized: close code 4401; a program that sent neither Origin nor credentials.
    """
    if origin is None:
        if has_token or insecure:
            return
        if has_cookie:
            raise PermissionRefused("without an Origin header a session does not count: send a token")
        raise Unauthorized("a client without an Origin header needs a token")
    if origin.lower() not in allowed:
        raise PermissionRefused("this Origin is not allowed")
