"""clarion.namespaces: whatever a file holds, it is a configuration or ConfigInvalid, never a traceback."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clarion.errors import ConfigInvalid
from clarion.namespaces import (
    ChannelOptions,
    ChannelTable,
    ClarionConfig,
    ClientTable,
    TokenTable,
    config_load,
    config_parse,
)

names = st.sampled_from(
    sorted(
        {
            name
            for table in (ClarionConfig, ChannelTable, ClientTable, TokenTable, ChannelOptions)
            for name in table.model_fields
        }
    )
)
scalars = (
    st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.datetimes() | st.dates() | st.times()
    | st.sampled_from(["300s", "24h", "0", "chat", "fossil", "cache", "(", "-----BEGIN", "https://a.example/"])
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)
options = st.dictionaries(names | st.text(max_size=6), values, max_size=5)
namespaces = st.lists(
    options
    | st.fixed_dictionaries({"name": st.sampled_from(["chat", "lab", "x", ""])}, optional={"history_size": values}),
    max_size=4,
)
plausible = st.fixed_dictionaries(
    {},
    optional={
        "client": options | values,
        "channel": st.fixed_dictionaries(
            {}, optional={"namespaces": namespaces, "without_namespace": options, "personal": options | values}
        ),
        "limits": options | values,
    },
)


def check(raw: dict[str, Any]) -> None:
    """Every problem is one line that can be shown on a terminal."""
    problems: list[str] = []
    try:
        config = config_parse(raw)
    except ConfigInvalid as exc:
        problems = exc.problems
    else:
        config.warnings()
        config.is_recoverable("chat:x")
    for problem in problems:
        assert problem.startswith("clarion.toml: ")
        assert problem.isprintable(), ascii(problem)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(names | st.text(max_size=6), values, max_size=5))
def test_any_table_is_read_or_refused(raw: dict[str, Any]) -> None:
    """Options anywhere, of any type."""
    check(raw)


@settings(deadline=None, max_examples=300)
@given(plausible)
def test_a_plausible_table_is_read_or_refused(raw: dict[str, Any]) -> None:
    """The right tables with whatever in them: combinations are looked at beside wrong options."""
    check(raw)


@settings(deadline=None)
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_any_file_is_read_or_refused(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Not UTF-8, not TOML, or not ours."""
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_bytes(content)
    with suppress(ConfigInvalid):
        config_load(path)


@pytest.mark.parametrize("content", [b"a = " + b"[" * 100_000, b"a." * 2_000 + b"b = 1", b"#" * 2_000_000])
def test_a_file_that_is_meant_to_hurt_is_refused(content: bytes, tmp_path: Path) -> None:
    """Deep nesting and size are problems like others."""
    path = tmp_path / "clarion.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigInvalid):
        config_load(path)
