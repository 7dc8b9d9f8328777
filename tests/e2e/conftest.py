"""Fixtures of the SDKs' tests."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.support.sdk import VARIANTS, Sdks, Variant, missing
from tests.support.sdk import sdks as running_sdks
from tests.support.sdk_clients import Clients
from tests.support.sdk_product import SdkProduct
from tests.support.sdk_product import sdk_product as running_product


@pytest.fixture(scope="session")
def sdk_product() -> Iterator[SdkProduct]:
    """The product of the SDKs' tests: two gateways, every option somewhere."""
    with running_product() as made:
        yield made


@pytest.fixture(scope="session")
def sdks() -> Iterator[Sdks]:
    """The SDKs' programs."""
    with running_sdks() as made:
        yield made


@pytest.fixture
def clients(sdks: Sdks, sdk_product: SdkProduct) -> Iterator[Clients]:
    """Opens clients through nginx."""
    made = Clients(sdks, sdk_product.url)
    yield made
    made.disconnect()


@pytest.fixture(params=VARIANTS, ids=str)
def variant(request: pytest.FixtureRequest) -> Variant:
    """Each SDK in each of its transports, one after the other."""
    return _present(request.param)


@pytest.fixture(params=[each for each in VARIANTS if not each.is_emulated], ids=str)
def socket_variant(request: pytest.FixtureRequest) -> Variant:
    """Those over a WebSocket."""
    return _present(request.param)


@pytest.fixture(params=[each for each in VARIANTS if each.has_delta], ids=str)
def delta_variant(request: pytest.FixtureRequest) -> Variant:
    """Those that can rebuild what changed."""
    return _present(request.param)


@pytest.fixture(params=[each for each in VARIANTS if each.is_recent], ids=str)
def recent_variant(request: pytest.FixtureRequest) -> Variant:
    """Those that know what is new in the protocol: the tags filter, invalidated state."""
    return _present(request.param)


def _present(variant: Variant) -> Variant:
    if why := missing(variant.sdk):
        pytest.skip(f"{variant.sdk}: {why}")
    return variant


@pytest.fixture
def variants() -> list[Variant]:
    """All of them at once, for what takes time."""
    return [variant for variant in VARIANTS if not missing(variant.sdk)]


@pytest.fixture
def name() -> str:
    """A name that no other test uses, for channels and users."""
    return uuid4().hex[:12]
