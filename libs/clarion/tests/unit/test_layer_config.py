"""clarion.layer_config: one warning, one file, what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from clarion.errors import ConfigInvalid
from clarion.layer_config import layer_config
from clarion.namespaces import ClarionConfig


def test_a_missing_configuration_is_said_once_and_not_on_stdout() -> None:
    """Layer, publisher and publisher again: one line on stderr, so that a command's output stays its own."""
    program = """
from clarion.layers import ClarionChannelLayer
from clarion.publisher import Publisher
Publisher(["redis://127.0.0.1:1"]), Publisher(["redis://127.0.0.1:1"]), ClarionChannelLayer(["redis://127.0.0.1:1"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == ""
    assert done.stderr.count("no channel keeps a history") == 1


def test_a_configuration_is_taken_as_it_is_or_read(tmp_path: Path) -> None:
    """An object is not read again; a file's mistakes are told."""
    config = ClarionConfig()
    assert layer_config(config) is config
    path = tmp_path / "clarion.toml"
    path.write_text("[limits]\npublication_bytes = 7\n")
    assert [found.limits.publication_bytes for found in (layer_config(path), layer_config(str(path))) if found] == [
        7,
        7,
    ]
    path.write_text("[limit]\n")
    with pytest.raises(ConfigInvalid, match="limits"):
        layer_config(path)
