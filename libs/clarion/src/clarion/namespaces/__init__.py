"""Namespaces: which channels exist and who may do what on them, read from ``clarion.toml``.

The file's structure and the options' names are those of Centrifugo v6.

Source: docs/protocol.md, "Namespace options".
"""

from __future__ import annotations

from clarion.namespaces.config import ClarionConfig, config_load, config_parse
from clarion.namespaces.options import ChannelOptions, Namespace, PersonalOptions
from clarion.namespaces.tables import (
    RSA_MIN_BITS,
    ChannelTable,
    ClientTable,
    LimitsTable,
    PersonalSubscription,
    SubscriptionTokenTable,
    TokenTable,
)

__all__ = [
    "RSA_MIN_BITS",
    "ChannelOptions",
    "ChannelTable",
    "ClarionConfig",
    "ClientTable",
    "LimitsTable",
    "Namespace",
    "PersonalOptions",
    "PersonalSubscription",
    "SubscriptionTokenTable",
    "TokenTable",
    "config_load",
    "config_parse",
]
