"""What a channel layer knows of ``clarion.toml``, and what it refuses there.

Source: ADR-0006.
"""

from __future__ import annotations

import logging
from pathlib import Path

from clarion.errors import ConfigInvalid
from clarion.namespaces import ChannelOptions, ClarionConfig, config_load

# Not structlog: where nobody has configured it, it prints to stdout, which may be a command's result.
log = logging.getLogger("clarion.layers")

_is_told = False


def layer_config(config: str | Path | ClarionConfig | None) -> ClarionConfig | None:
    """The configuration that a layer or publisher was given, read if it is a path.

    Raises:
        ConfigInvalid: the file is wrong.
    """
    global _is_told
    if config is None:
        if not _is_told:
            _is_told = True
            log.warning(
                "no channel keeps a history: give CHANNEL_LAYERS a config=<clarion.toml>",
                extra={"event": "config.missing"},
            )
        return None
    return config if isinstance(config, ClarionConfig) else config_load(Path(config))


def history_refuse(config: ClarionConfig, why: str) -> None:
    """Raise ConfigInvalid if any channel is to keep a history.

    Args:
        why: the option that no history goes with.
    """
    tables: dict[str, ChannelOptions | None] = {
        "channel.without_namespace": config.channel.without_namespace,
        "channel.personal": config.channel.personal,
        **{f"channel.namespaces.{namespace.name}": namespace for namespace in config.channel.namespaces},
    }
    problems = [
        f"{name}.history_size: a history cannot be kept with {why}: Redis writes the offset into each message"
        for name, options in tables.items()
        if options is not None and options.has_history
    ]
    if problems:
        raise ConfigInvalid(problems)
