"""clarion.namespaces: clarion.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from clarion.errors import ConfigInvalid, NamespaceUnknown
from clarion.namespaces import ClarionConfig, config_load, config_parse


def test_config_load_reads_centrifugos_structure(tmp_path: Path) -> None:
    """Tables and names are those of Centrifugo v6, as TOML."""
    path = tmp_path / "clarion.toml"
    path.write_text(
        '[client]\nallowed_origins = ["https://app.example"]\n'
        "[channel.without_namespace]\nallow_subscribe_for_client = true\n"
        '[[channel.namespaces]]\nname = "chat"\nallow_publish_for_client = true\n[limits]\npublication_bytes = 100\n'
    )
    config = config_load(path)
    assert config.client.allowed_origins == ["https://app.example"]
    assert config.options_of("plain").allow_subscribe_for_client
    assert config.options_of("chat:x").allow_publish_for_client
    assert not config.options_of("chat:x").allow_subscribe_for_client
    assert config.limits.publication_bytes == 100


def test_nothing_is_open_unless_a_namespace_says_so() -> None:
    """Without a file no channel exists but personal ones, and those are open to nobody by options."""
    config = ClarionConfig()
    for channel in ("plain", "chat:x", ":x"):
        with pytest.raises(NamespaceUnknown):
            config.options_of(channel)
    personal = config.options_of("#1")
    assert not personal.allow_subscribe_for_client
    assert not personal.allow_publish_for_client


def test_config_parse_tells_all_problems_at_once() -> None:
    """An operator mends a file once, not once a problem; an unknown option names its nearest one."""
    with pytest.raises(ConfigInvalid) as caught:
        config_parse(
            {
                "channel": {"namespaces": [{"name": "chat", "allow_subscribe_for_clients": True}, {"name": "chat:x"}]},
                "limits": {"publication_bytes": "many"},
                "cleint": {},
            }
        )
    text = str(caught.value)
    assert len(caught.value.problems) == 4
    assert "namespaces.chat.allow_subscribe_for_clients: no such option; the nearest one is" in text
    assert "cleint: no such option; the nearest one is client" in text
    assert "limits.publication_bytes" in text


def test_config_parse_refuses_a_namespace_defined_twice() -> None:
    """Which of the two would hold?"""
    with pytest.raises(ConfigInvalid, match="defined twice: chat"):
        config_parse({"channel": {"namespaces": [{"name": "chat"}, {"name": "chat"}]}})


@pytest.mark.parametrize("text", ["[client", "\udcff", None])
def test_config_load_tells_what_is_wrong_with_a_file(tmp_path: Path, text: str | None) -> None:
    """A missing or broken file is one clear problem with its path."""
    path = tmp_path / "clarion.toml"
    if text is not None:
        path.write_text(text, errors="surrogateescape")
    with pytest.raises(ConfigInvalid, match=r"clarion\.toml"):
        config_load(path)
