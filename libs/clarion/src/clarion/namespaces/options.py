"""The options of channels: one :class:`ChannelOptions` for every namespace.

Names, meanings and defaults are those of Centrifugo v6; what Clarion adds says so. Nothing is open unless an option
says so. The attributes' docstrings are for readers of the code; docs/protocol.md, "Namespace options" for operators.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from clarion.durations import Duration
from clarion.errors import NameInvalid

HISTORY_META_TTL: Final = Duration(720 * 3600)
"""How long a stream's offset and epoch outlive its last publication, unless the configuration says otherwise."""

HISTORY_SIZE_MAX: Final = 1_000_000
"""A stream is trimmed to exactly its size on every publish; beyond this a database is the right place."""


class Table(BaseModel):
    """A table of ``clarion.toml``: an unknown option is an error, and nothing is turned into another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ChannelOptions(Table):
    """What holds for the channels of one namespace."""

    presence: bool = False
    """Who is subscribed is kept, and can be asked for."""
    join_leave: bool = False
    """Joining and leaving is published to those subscribers that asked for it and may see the presence."""
    force_push_join_leave: bool = False
    """With ``join_leave``: every subscriber gets these, asked for or not."""

    history_size: int = Field(default=0, ge=0, le=HISTORY_SIZE_MAX)
    """Most publications that the stream holds. 0: no history; then ``history_ttl`` is 0, too."""
    history_ttl: Duration = Duration(0)
    """How long the stream is kept after its last publication; whole seconds."""
    history_meta_ttl: Duration = Duration(0)
    """How long the stream's offset and epoch are kept after its last use; whole seconds. A client that comes back later
    than this starts anew. 0: ``channel.history_meta_ttl``."""

    force_positioning: bool = False
    """Every subscription follows its position in the stream: a gap is healed, or told by unsubscribe 2500."""
    allow_positioning: bool = False
    """A subscription follows its position if it asks to."""
    force_recovery: bool = False
    """Every subscription that comes back gets what it missed. Includes positioning; needs history."""
    allow_recovery: bool = False
    """A subscription gets what it missed if it asks to be recoverable."""
    force_recovery_mode: Literal["", "stream", "cache"] = ""
    """``stream``: all that was missed, in order (also if left out). ``cache``: the newest publication only, also at
    the first subscribe."""

    allow_subscribe_for_client: bool = False
    """Any client with a user id may subscribe."""
    allow_subscribe_for_anonymous: bool = False
    """With ``allow_subscribe_for_client``: a client without a user id may, too."""

    allow_publish_for_subscriber: bool = False
    """A client with a user id may publish while it is subscribed."""
    allow_publish_for_client: bool = False
    """Any client with a user id may publish."""
    allow_publish_for_anonymous: bool = False
    """With one of the two above: a client without a user id may, too."""

    allow_history_for_subscriber: bool = False
    """A client with a user id may read the history while it is subscribed; its subscriptions may be recoverable."""
    allow_history_for_client: bool = False
    """Any client with a user id may read the history; its subscriptions may be recoverable."""
    allow_history_for_anonymous: bool = False
    """With one of the two above: a client without a user id may, too."""

    allow_presence_for_subscriber: bool = False
    """A client with a user id may ask who is there, and get joins and leaves, while it is subscribed."""
    allow_presence_for_client: bool = False
    """Any client with a user id may ask who is there."""
    allow_presence_for_anonymous: bool = False
    """With one of the two above: a client without a user id may, too."""

    allow_tags_filter: bool = False
    """A subscription may ask for only those publications whose tags match a filter."""
    allowed_delta_types: list[Literal["fossil"]] = []
    """Deltas between publications that a subscription may ask for. They need history and a position."""
    delta_publish: bool = False
    """Every publication may be sent as a delta, also when its publisher did not ask for that."""

    allow_user_limited_channels: bool = False
    """A name that ends in ``#<user id>,<user id>`` is open to these users, and not to others."""
    channel_regex: str = ""
    """What a channel's name must match; searched in what stands after the namespace and its ``:``. Python's ``re``."""

    @field_validator("channel_regex")
    @classmethod
    def _regex_compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as exc:
            raise ValueError(f"not a regular expression: {exc}") from exc
        return pattern

    @field_validator("history_ttl", "history_meta_ttl")
    @classmethod
    def _whole_seconds(cls, duration: Duration) -> Duration:
        return whole_seconds(duration)

    @property
    def history_ttl_s(self) -> float:
        """``history_ttl`` in seconds; 0 without history."""
        return float(self.history_ttl)

    @property
    def history_meta_ttl_s(self) -> float:
        """``history_meta_ttl`` in seconds."""
        return float(self.history_meta_ttl or HISTORY_META_TTL)

    @cached_property
    def has_history(self) -> bool:
        """Whether publications get an offset and are kept: the channel is recoverable."""
        return self.history_size > 0 and self.history_ttl > 0

    @cached_property
    def is_cache(self) -> bool:
        """Whether recovery means the newest publication only."""
        return self.force_recovery_mode == "cache"

    @cached_property
    def _regex(self) -> re.Pattern[str] | None:
        return re.compile(self.channel_regex) if self.channel_regex else None

    def name_check(self, channel: str) -> str:
        """Return the channel's name if ``channel_regex`` allows it.

        Raises:
            NameInvalid: HTTP 400, protocol error 107, close code 4400.
        """
        if self._regex is not None and not self._regex.search(self.name_part(channel)):
            raise NameInvalid("the channel's name is not one that this namespace allows")
        return channel

    def name_part(self, channel: str) -> str:
        """What ``channel_regex`` looks at: the whole name of a channel that is in no namespace."""
        return channel

    def model_post_init(self, _context: Any) -> None:
        """Look at the cached properties once, so that they cost a dict lookup afterwards."""
        _ = self.has_history, self.is_cache, self._regex


class Namespace(ChannelOptions):
    """One ``[[channel.namespaces]]`` entry."""

    name: str
    """What stands before the first ``:`` of its channels' names."""

    @field_validator("name")
    @classmethod
    def _name_follows_the_rule(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{2,64}", name):
            raise ValueError("2 to 64 characters of A-Z a-z 0-9 _ . -")
        return name

    def name_part(self, channel: str) -> str:
        """What stands after the namespace and its ``:``."""
        return channel.partition(":")[2]


class PersonalOptions(ChannelOptions):
    """``[channel.personal]``: personal channels, ``#<user id>``. Its owner may subscribe and read the history, and
    nobody else has any right there whatever the options say. Clarion's own table; Centrifugo has these channels in
    ``without_namespace``.
    """

    history_size: int = Field(default=100, ge=0, le=HISTORY_SIZE_MAX)
    history_ttl: Duration = Duration(24 * 3600)
    force_recovery: bool = True
    allow_history_for_subscriber: bool = True

    @model_validator(mode="before")
    @classmethod
    def _history_off(cls, raw: Any) -> Any:
        """``history_size = 0`` alone switches off all that comes with a history."""
        if isinstance(raw, dict) and raw.get("history_size") == 0:
            return {"history_ttl": "0", "force_recovery": False, **raw}
        return raw


def whole_seconds(duration: Duration) -> Duration:
    """Return a duration that Redis can keep as an expiry.

    Raises:
        ValueError: it holds a fraction of a second.
    """
    if not duration.is_integer():
        raise ValueError("whole seconds only")
    return duration
