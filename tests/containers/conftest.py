"""Fixtures of the containers' tests: one deployment that most share, started from nothing as documented."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.containers import Deployment, deployment, images_forget


@pytest.fixture(scope="session")
def running() -> Iterator[Deployment]:
    """The product in containers, built from nothing. A test that stops a part of it starts that again."""
    images_forget()
    with deployment(is_cold=True) as made:
        yield made


@pytest.fixture(scope="session")
def images(running: Deployment) -> None:
    """The images, which that has built."""
