"""Fixtures of the containers' tests: images built once, and one deployment that most tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.containers import Deployment, deployment, images_build


@pytest.fixture(scope="session")
def images() -> None:
    """Build the images; cold this takes minutes."""
    images_build()


@pytest.fixture(scope="session")
def running(images: None) -> Iterator[Deployment]:
    """The product in containers. A test that stops a part of it starts that again."""
    with deployment() as made:
        yield made
