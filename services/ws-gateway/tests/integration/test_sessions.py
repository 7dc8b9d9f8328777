"""Sessions while Django's secret key is rotated: http-api and the gateways do not change keys in the same moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from .conftest import PUBLIC_URL, GatewayProcess, close_of, received

KEY, OTHER_KEY = "dev-" + "s" * 40, "dev-" + "o" * 40


@pytest.fixture
def rotating(tmp_path: Path, shared_redis_url: str) -> Iterator[GatewayProcess]:
    """A gateway that signs with one key and knows another."""
    keys = {"CLARION_SECRET_KEY": KEY, "CLARION_SECRET_KEY_FALLBACKS": OTHER_KEY}
    gateway = GatewayProcess(tmp_path, shared_redis_url, f"t{uuid4().hex[:12]}", **keys)
    gateway.django("from django.core.management import call_command; call_command('migrate', verbosity=0)")
    gateway.start()
    yield gateway
    gateway.stop()


def _signed_by(gateway: GatewayProcess, key: str, user: str) -> dict[str, Any]:
    """Sign in where the key is another; return a handshake's options."""
    gateway.env |= {"CLARION_SECRET_KEY": key, "CLARION_SECRET_KEY_FALLBACKS": ""}
    return {"token": None, "origin": PUBLIC_URL, "cookie": gateway.session_cookie(user)}


def _sessions(gateway: GatewayProcess) -> list[str]:
    program = "from django.contrib.sessions.models import Session; print(*Session.objects.values_list('pk', flat=True))"
    return gateway.django(program).split()


async def test_a_session_of_a_fallback_key_is_signed_in(rotating: GatewayProcess) -> None:
    """Before and after the swap alike; the session stays as the browser knows it."""
    for key, user in ((KEY, "ada"), (OTHER_KEY, "bob")):
        options = _signed_by(rotating, key, user)
        before = _sessions(rotating)
        async with rotating.connect("chat:x", query="?hello=1", **options) as socket:
            assert (await received(socket, 1))[0]["hello"]["user"] != ""
        assert _sessions(rotating) == before


async def test_a_session_of_an_unknown_key_is_nobodys_and_stays(rotating: GatewayProcess) -> None:
    """Another replica may know its key: a gateway refuses, and deletes nothing."""
    options = _signed_by(rotating, "dev-" + "u" * 40, "ada")
    assert (await close_of(rotating.connect("chat:x", **options)))[0] == 4401
    assert len(_sessions(rotating)) == 1


async def test_a_session_whose_password_changed_is_nobodys(rotating: GatewayProcess) -> None:
    """A fallback key vouches for a session's signature, not for a password that is no more."""
    options = _signed_by(rotating, OTHER_KEY, "ada")
    rotating.django(
        "from django.contrib.auth.models import User\n"
        "user = User.objects.get(username='ada'); user.set_password('another'); user.save()"
    )
    assert (await close_of(rotating.connect("chat:x", **options)))[0] == 4401
