"""Fixtures for the tests of the whole workspace."""

from __future__ import annotations

pytest_plugins = ["tests.support.fixtures"]
