"""The console's view and the pages around it, rendered without a database."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpResponse
from django.test import RequestFactory

from clarion.namespaces import config_parse
from http_api.console import selectors, views

CONFIG = config_parse(
    {
        "channel": {
            "namespaces": [
                {"name": "audit"},
                {"name": "chat", "allow_subscribe_for_client": True},
                {"name": "lab", "allow_subscribe_for_client": True},
                {"name": "bench", "allow_subscribe_for_client": True},
            ]
        },
        "limits": {"publication_bytes": 1000, "room_frame_bytes": 900},
    }
)


class _Env:
    """What the console reads of the environment."""

    clarion_config = CONFIG

    def __init__(self, *, is_development: bool) -> None:
        self.is_development = is_development


@pytest.fixture(params=[True, False], ids=["development", "production"])
def is_development(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run the test as on a developer's machine and as in production."""
    env = _Env(is_development=request.param)
    monkeypatch.setattr(views, "env", env)
    monkeypatch.setattr(selectors, "env", env)
    return bool(request.param)


def _get(path: str, user: User | AnonymousUser, **cookies: str) -> str:
    request = RequestFactory().get(path)
    request.user = user
    request.COOKIES.update(cookies)
    response: HttpResponse = views.console(request)
    assert response.status_code == 200
    return response.content.decode()


def _facts(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="page" type="application/json">(.*?)</script>', page)
    assert found
    facts: dict[str, Any] = json.loads(found[1])
    return facts


def test_console_tells_the_script_what_this_reader_may_use(is_development: bool) -> None:
    """The reader's id, the namespaces that a client may join, and the smaller of the two limits."""
    page = _get("/", User(pk=7, username="ada"))
    assert _facts(page) == {
        "user": "7",
        "namespaces": ["chat", "lab", "bench"],
        "examples": ["chat:lobby", "lab:demo"],
        "publication_bytes": 900,
    }
    assert 'data-channel="#7"' in page


def test_console_names_local_files_in_development_only(is_development: bool) -> None:
    """Where ``make up`` keeps key and password means nothing, and is not said, in production."""
    for user in (User(pk=7, username="ada"), AnonymousUser()):
        assert (".run/dev.json" in _get("/", user)) is is_development


def test_console_fills_in_the_linked_channel_as_text(is_development: bool) -> None:
    """A link's channel stands in the field, whatever it holds, and is never markup."""
    page = _get("/?channel=%22%3E%3Cscript%3Ex", User(pk=7, username="ada"))
    assert 'value="&quot;&gt;&lt;script&gt;x"' in page
    assert "<script>x" not in page


def test_console_sends_back_to_the_link_after_signing_in(is_development: bool) -> None:
    """The form of the signed-out page carries the whole link."""
    page = _get("/?channel=chat:room", AnonymousUser())
    assert 'name="next" value="/?channel=chat:room"' in page


@pytest.mark.parametrize(("cookie", "attribute"), [("dark", "dark"), ("light", "light"), ('x" onload="', None)])
def test_page_starts_in_the_chosen_theme(cookie: str, attribute: str | None) -> None:
    """A remembered theme is in the first byte that is sent; any other cookie is nothing."""
    page = _get("/", AnonymousUser(), clarion_theme=cookie)
    start = page[page.index("<html") : page.index("<head")]
    assert (f'data-theme="{attribute}"' in start) is (attribute is not None)
    assert "onload" not in start


def test_console_without_namespaces_offers_the_personal_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment that defines nothing yet still has one channel to try."""
    env = _Env(is_development=False)
    env.clarion_config = config_parse({})
    monkeypatch.setattr(selectors, "env", env)
    assert 'value="#7"' in _get("/", User(pk=7, username="ada"))
