"""Who may do what: the rules of plain rooms, without I/O.

Source: docs/protocol.md, "Plain rooms".
"""

from __future__ import annotations

from dataclasses import dataclass

from clarion.errors import PermissionRefused, Unauthorized
from clarion.names import channel_check, personal_user
from clarion.namespaces import ClarionConfig


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
    """What a client that may join is allowed to do."""

    channel: str
    user: str
    may_publish: bool


def room_admit(config: ClarionConfig, channel: str, identity: Identity) -> Admission:
    """Decide whether a client may join a plain room.

    Raises:
        NameInvalid: close code 4400.
        Unauthorized: 4401; nobody is signed in, and the room is not open to that.
        PermissionRefused: 4403; this user may not.
        NamespaceUnknown: 4404.
    """
    channel_check(channel)
    options = config.options_of(channel)
    owner = personal_user(channel)
    if owner is not None:  # a personal channel is for that user alone, whatever a token grants
        is_allowed = identity.user == owner
    else:
        is_allowed = options.may_subscribe(identity.user) or channel in identity.grants
    if not is_allowed and not identity.user and not identity.has_token:
        raise Unauthorized("sign in, or send a token")
    if not is_allowed:
        raise PermissionRefused("this user may not join this channel")
    return Admission(channel=channel, user=identity.user, may_publish=options.may_publish(identity.user))


def origin_check(origin: str | None, allowed: frozenset[str], *, has_token: bool, has_cookie: bool) -> None:
    """Refuse a browser page of a foreign origin; only a token may come without any Origin.

    Raises:
        PermissionRefused: close code 4403.
        Unauthorized: close code 4401; a program that sent neither Origin nor credentials.
    """
    if origin is None:
        if has_token:
            return
        if has_cookie:
            raise PermissionRefused("without an Origin header a session does not count: send a token")
        raise Unauthorized("a client without an Origin header needs a token")
    if origin.lower() not in allowed:
        raise PermissionRefused("this Origin is not allowed")
