"""Namespaces: which channels exist and who may do what on them, read from ``clarion.toml``.

The file's structure and the options' names are those of Centrifugo v6. An option that Clarion does not have is an
error that names it and its nearest one; all problems are reported at once.

Source: docs/protocol.md, "Namespace options".
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator

from clarion.errors import ConfigInvalid, NamespaceUnknown
from clarion.names import namespace_of
from clarion.values import PUBLICATION_MAX_BYTES


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ChannelOptions(_Table):
    """What holds for the channels of one namespace. Nothing is open unless an option says so."""

    allow_subscribe_for_client: bool = False
    """Any client with a user id may subscribe."""
    allow_subscribe_for_anonymous: bool = False
    """With ``allow_subscribe_for_client``: a client without a user id may, too."""
    allow_publish_for_client: bool = False
    """Any client with a user id may publish."""
    allow_publish_for_anonymous: bool = False
    """With ``allow_publish_for_client``: a client without a user id may, too."""

    def may_subscribe(self, user: str) -> bool:
        """Whether a client of this user id ("" is anonymous) may subscribe without a further grant."""
        return self.allow_subscribe_for_client and (user != "" or self.allow_subscribe_for_anonymous)

    def may_publish(self, user: str) -> bool:
        """Whether a client of this user id ("" is anonymous) may publish."""
        return self.allow_publish_for_client and (user != "" or self.allow_publish_for_anonymous)


class Namespace(ChannelOptions):
    """One ``[[channel.namespaces]]`` entry."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{2,}$", max_length=64)


class ChannelTable(_Table):
    """``[channel]``."""

    without_namespace: ChannelOptions | None = None
    """Options of channels with no ``:``. Left out: such channels do not exist."""
    namespaces: list[Namespace] = []

    @field_validator("namespaces")
    @classmethod
    def _unique(cls, namespaces: list[Namespace]) -> list[Namespace]:
        names = [namespace.name for namespace in namespaces]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"defined twice: {', '.join(sorted(twice))}")
        return namespaces


class ClientTable(_Table):
    """``[client]``."""

    allowed_origins: list[str] = []
    """Exact origins (``https://app.example``) beside ``CLARION_PUBLIC_URL``."""


class LimitsTable(_Table):
    """``[limits]``."""

    publication_bytes: int = Field(default=PUBLICATION_MAX_BYTES, ge=1, le=1_048_576)
    """Most bytes of one publication's data as compact JSON."""
    room_frame_bytes: int = Field(default=65_536, ge=1, le=16_777_216)
    """Most bytes of one message from a plain room's client; over it the socket closes with 1009."""


class ClarionConfig(_Table):
    """The whole of ``clarion.toml``."""

    client: ClientTable = ClientTable()
    channel: ChannelTable = ChannelTable()
    limits: LimitsTable = LimitsTable()
    _by_name: dict[str, ChannelOptions] = PrivateAttr(default_factory=dict)

    def model_post_init(self, _context: Any) -> None:
        self._by_name.update({namespace.name: namespace for namespace in self.channel.namespaces})

    def options_of(self, channel: str) -> ChannelOptions:
        """The options that hold for a channel. A personal channel is open to nobody but through its own rule.

        Raises:
            NamespaceUnknown: HTTP 404, protocol error 102, close code 4404.
        """
        if channel.startswith("#"):
            return PERSONAL_OPTIONS
        namespace = namespace_of(channel)
        options = self.channel.without_namespace if namespace is None else self._by_name.get(namespace)
        if options is None:
            undefined = "channels without a namespace are" if namespace is None else f"the namespace {namespace!r} is"
            raise NamespaceUnknown(f"{undefined} not defined in clarion.toml")
        return options


PERSONAL_OPTIONS = ChannelOptions()


def config_load(path: Path) -> ClarionConfig:
    """Read and check a ``clarion.toml``.

    Raises:
        ConfigInvalid: the file cannot be read or parsed, or any option is wrong; every problem has a line.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as exc:
        raise ConfigInvalid([f"{path}: {exc}"]) from exc
    return config_parse(raw, str(path))


def config_parse(raw: dict[str, Any], where: str = "clarion.toml") -> ClarionConfig:
    """Check a parsed ``clarion.toml``.

    Raises:
        ConfigInvalid: any option is wrong; every problem has a line.
    """
    try:
        return ClarionConfig.model_validate(raw)
    except ValidationError as exc:
        raise ConfigInvalid([f"{where}: {problem}" for problem in _problems(exc, raw)]) from exc


def _problems(exc: ValidationError, raw: dict[str, Any]) -> Iterator[str]:
    for error in exc.errors(include_url=False):
        option = ".".join(_location(error["loc"], raw))
        if error["type"] != "extra_forbidden":
            yield f"{option}: {error['msg']}"
            continue
        near = difflib.get_close_matches(str(error["loc"][-1]), _option_names(), n=1)
        yield f"{option}: no such option" + (f"; the nearest one is {near[0]}" if near else "")


def _location(parts: tuple[int | str, ...], raw: Any) -> Iterator[str]:
    """The way to an option; a namespace is called by its name, not by its place in the list."""
    for part in parts:
        try:
            raw = raw[part]
        except (KeyError, IndexError, TypeError):  # the option is missing, or stands where a table should
            raw = None
        name = raw.get("name") if isinstance(part, int) and isinstance(raw, dict) else None
        yield str(name or part)


def _option_names() -> list[str]:
    tables: tuple[type[_Table], ...] = (ClarionConfig, ChannelTable, Namespace, ClientTable, LimitsTable)
    return [name for table in tables for name in table.model_fields]
