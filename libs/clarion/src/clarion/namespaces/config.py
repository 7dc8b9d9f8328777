"""The whole of ``clarion.toml``: reading and checking it, and the options that hold for a channel.

An option that Clarion does not have is an error that names it and its nearest one; all problems are reported at once.
"""

from __future__ import annotations

import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from clarion.errors import ConfigInvalid, NamespaceUnknown
from clarion.names import PERSONAL_PREFIX
from clarion.namespaces.combinations import Finding, contradictions, idle_options
from clarion.namespaces.options import ChannelOptions, Table
from clarion.namespaces.problems import Location, option_path, option_problems
from clarion.namespaces.tables import ChannelTable, ClientTable, LimitsTable

FILE_MAX_BYTES: Final = 1_048_576


class ClarionConfig(Table):
    """The whole of ``clarion.toml``."""

    client: ClientTable = ClientTable()
    channel: ChannelTable = ChannelTable()
    limits: LimitsTable = LimitsTable()

    @cached_property
    def _by_name(self) -> dict[str, ChannelOptions]:
        return {namespace.name: self._with_meta_ttl(namespace) for namespace in self.channel.namespaces}

    @cached_property
    def _plain(self) -> ChannelOptions | None:
        options = self.channel.without_namespace
        if options is None and self.client.insecure:  # "anything": a first try needs no more than insecure = true
            options = ChannelOptions()
        return options and self._with_meta_ttl(options)

    @cached_property
    def _personal(self) -> ChannelOptions:
        return self._with_meta_ttl(self.channel.personal)

    def _with_meta_ttl(self, options: ChannelOptions) -> ChannelOptions:
        if options.history_meta_ttl:
            return options
        return options.model_copy(update={"history_meta_ttl": self.channel.history_meta_ttl})

    def options_of(self, channel: str) -> ChannelOptions:
        """The options that hold for a channel: two dict lookups and no more, it is called for every message.

        Raises:
            NamespaceUnknown: HTTP 404, protocol error 102, close code 4404.
        """
        if channel[:1] == PERSONAL_PREFIX:
            return self._personal
        namespace, colon, _ = channel.partition(":")
        options = self._by_name.get(namespace) if colon else self._plain
        if options is None:
            undefined = f"the namespace {namespace!r} is" if colon else "channels without a namespace are"
            raise NamespaceUnknown(f"{undefined} not defined in clarion.toml")
        return options

    def is_recoverable(self, channel: str) -> bool:
        """Whether the channel's publications get an offset and are kept. False in a namespace that is not defined."""
        try:
            return self.options_of(channel).has_history
        except NamespaceUnknown:
            return False

    @property
    def has_recoverable(self) -> bool:
        """Whether any channel's publications are kept."""
        tables = (self._personal, self._plain, *self._by_name.values())
        return any(options is not None and options.has_history for options in tables)

    def warnings(self) -> list[str]:
        """Options without effect, one a line: most likely a mistake, and no reason not to start."""
        return [_line(finding) for finding in idle_options(self.client, self.channel)]


def config_load(path: Path) -> ClarionConfig:
    """Read and check a ``clarion.toml``.

    Raises:
        ConfigInvalid: the file cannot be read or parsed, or any option is wrong; every problem has a line.
    """
    try:
        with path.open("rb") as file:
            content = file.read(FILE_MAX_BYTES + 1)
        if len(content) > FILE_MAX_BYTES:
            raise ConfigInvalid([f"{path}: larger than {FILE_MAX_BYTES:,} bytes"])
        raw = tomllib.loads(content.decode())
    except OSError as exc:
        raise ConfigInvalid([f"{path}: {exc.strerror or exc}"]) from exc
    except (ValueError, RecursionError) as exc:  # TOML's own errors and UnicodeError are ValueErrors
        raise ConfigInvalid([f"{path}: {exc}"]) from exc
    return config_parse(raw, str(path))


def config_parse(raw: dict[str, Any], where: str = "clarion.toml") -> ClarionConfig:
    """Check a parsed ``clarion.toml``.

    Raises:
        ConfigInvalid: any option is wrong; every problem has a line.
    """
    wrong: tuple[Location, ...] = ()
    problems: list[str] = []
    config: ClarionConfig | None
    try:
        config = ClarionConfig.model_validate(raw)
    except ValidationError as exc:
        wrong = _locations(exc)
        problems = list(option_problems(exc, raw, ClarionConfig))
        config = _rest(raw, wrong)
    wrong_paths = {option_path(location, raw) for location in wrong}
    for finding in contradictions(config.client, config.channel, config.limits) if config else ():
        if not _is_doubtful(finding, wrong_paths):
            problems.append(_line(finding))
    if problems or config is None:
        raise ConfigInvalid([f"{where}: {problem}" for problem in problems])
    return config


def _rest(raw: dict[str, Any], wrong: tuple[Location, ...]) -> ClarionConfig | None:
    """What is left without the wrong options, so that all of the rest can be checked in the same run."""
    rest = _copied(raw)
    for _ in range(_ROUNDS):
        _remove(rest, wrong)
        try:
            return ClarionConfig.model_validate(rest)
        except ValidationError as exc:
            wrong = _locations(exc)
    return None


def _copied(raw: Any, depth: int = 8) -> Any:
    """A copy down to below the deepest option; a hostile file's nesting has no end."""
    if depth and isinstance(raw, dict):
        return {name: _copied(value, depth - 1) for name, value in raw.items()}
    return [_copied(value, depth - 1) for value in raw] if depth and isinstance(raw, list) else raw


_ROUNDS: Final = 3
"""An option, then the table that cannot be without it, then what that leaves."""


def _locations(exc: ValidationError) -> tuple[Location, ...]:
    return tuple(error["loc"] for error in exc.errors(include_url=False, include_input=False))


def _remove(raw: Any, wrong: tuple[Location, ...]) -> None:
    """Take out wrong options; one that is missing takes its table along, if that is an entry of a list."""
    entries: set[tuple[Any, ...]] = set()
    for *way, last in wrong:
        table = _at(raw, way)
        if isinstance(table, dict) and last in table:
            del table[last]
        elif isinstance(last, int):
            entries.add((*way, last))
        elif way and isinstance(way[-1], int):
            entries.add(tuple(way))
    # At last and from the back: an entry that is taken out moves the place of those behind it.
    for *way, place in sorted(entries, key=lambda entry: int(entry[-1]), reverse=True):
        entry_list = _at(raw, way)
        if isinstance(entry_list, list) and place < len(entry_list):
            del entry_list[place]


def _at(raw: Any, way: list[Any]) -> Any:
    """What stands at the end of a way, None if it does not lead there."""
    for part in way:
        try:
            raw = raw[part]
        except (KeyError, IndexError, TypeError):
            return None
    return raw


def _is_doubtful(finding: Finding, wrong_paths: set[str]) -> bool:
    """Whether an option of the finding has been reported for itself: then the combination says nothing."""
    table = ".".join(finding.table)
    if not finding.options:
        return any(path == table or path.startswith(f"{table}.") for path in wrong_paths)
    return table in wrong_paths or any(f"{table}.{option}" in wrong_paths for option in finding.options)


def _line(finding: Finding) -> str:
    options = [" and ".join(finding.options)] if finding.options else []
    return f"{'.'.join([*finding.table, *options])}: {finding.text}"
