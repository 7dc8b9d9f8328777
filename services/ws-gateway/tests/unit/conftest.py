"""Fixtures of the unit tests."""

from __future__ import annotations

import pytest
from pytest_django import Settings


@pytest.fixture
def memory_layer(settings: Settings) -> None:
    """Give consumers Channels' in-memory layer: a new one for each test, with no Redis."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
