"""http_api.keys: made once, kept as a hash, revoked for good."""

from __future__ import annotations

import hashlib

import pytest
from django.contrib.auth.models import User
from django.test import Client

from http_api.errors import KeyInvalid
from http_api.keys.models import ApiKey
from http_api.keys.scopes import Scope, scopes_format, scopes_parse
from http_api.keys.selectors import KeyCaller, key_caller
from http_api.keys.services import key_create, key_revoke

pytestmark = pytest.mark.django_db


def test_key_create_keeps_the_hash_alone() -> None:
    """256 random bits after the prefix; no column holds the key or more than its first characters."""
    row, key = key_create("svc", frozenset([Scope.PUBLISH]))
    assert key.startswith("clk_")
    assert len(key) == len("clk_") + 43
    stored = ApiKey.objects.values().get(pk=row.pk)
    assert stored["hash"] == hashlib.sha256(key.encode()).hexdigest()
    assert key not in str(stored)
    assert key.startswith(stored["hint"])
    assert len(stored["hint"]) == 10
    assert key_create("svc", frozenset([Scope.PUBLISH]))[1] != key


def test_key_caller_knows_a_valid_key() -> None:
    """The caller has the key's name and scopes."""
    row, key = key_create("svc", frozenset([Scope.PUBLISH, Scope.NOTIFY]))
    assert key_caller(key) == KeyCaller(row.pk, "svc", frozenset([Scope.PUBLISH, Scope.NOTIFY]))


@pytest.mark.parametrize("wrong", ["", "clk_", "clk_x", "nonsense", "clk_\u0000", "clk_\udcff"])
def test_key_caller_refuses_what_it_does_not_know(wrong: str) -> None:
    """Whatever stands in the header, the error is the same."""
    with pytest.raises(KeyInvalid):
        key_caller(wrong)


def test_key_caller_takes_no_hash_for_a_key() -> None:
    """Who reads the table has no key."""
    row, _ = key_create("svc", frozenset([Scope.PUBLISH]))
    with pytest.raises(KeyInvalid):
        key_caller(row.hash)


def test_key_revoke_holds_at_once_and_once() -> None:
    """The next look-up refuses it; a second revocation changes nothing."""
    row, key = key_create("svc", frozenset([Scope.PUBLISH]))
    assert key_revoke(row) is True
    with pytest.raises(KeyInvalid):
        key_caller(key)
    first = ApiKey.objects.get(pk=row.pk).revoked_at
    assert key_revoke(row) is False
    assert ApiKey.objects.get(pk=row.pk).revoked_at == first


def test_key_caller_asks_one_query(django_assert_num_queries: object) -> None:
    """A publish pays for one indexed row and no more."""
    _, key = key_create("svc", frozenset([Scope.PUBLISH]))
    with django_assert_num_queries(1):  # type: ignore[operator]
        key_caller(key)


def test_admin_includes_every_scope() -> None:
    """And no other scope includes another."""
    for scope in Scope:
        assert KeyCaller(1, "", frozenset([Scope.ADMIN])).may(scope)
        for other in Scope:
            if Scope.ADMIN not in {scope, other}:
                assert KeyCaller(1, "", frozenset([scope])).may(other) is (scope is other)


def test_scopes_are_written_and_read() -> None:
    """Sorted, with spaces; read with spaces or commas; an unknown or missing one is an error."""
    scopes = frozenset([Scope.READ, Scope.ADMIN])
    assert scopes_format(scopes) == "admin read"
    assert scopes_parse("read,admin") == scopes_parse("admin read") == scopes
    for wrong in ("", " ", "nothing", "read nothing"):
        with pytest.raises(ValueError, match=r"scope|Scope"):
            scopes_parse(wrong)


@pytest.fixture
def staff(client: Client) -> Client:
    """An administrator's client."""
    client.force_login(User.objects.create_superuser("root"))
    return client


def test_admin_shows_a_new_key_once(staff: Client) -> None:
    """The answer to the form has the key, uncached; no later page has it, nor its hash."""
    answer = staff.post("/admin/keys/apikey/add/", {"name": "svc", "scopes": ["publish", "notify"]})
    assert answer.status_code == 200, answer.content
    assert "no-store" in answer.headers["Cache-Control"]
    row = ApiKey.objects.get()
    assert (row.name, row.scopes) == ("svc", "notify publish")
    key = answer.content.decode().partition('<pre id="api-key">')[2].partition("<")[0]
    assert key_caller(key).key_id == row.pk
    for path in (
        "/admin/keys/apikey/",
        f"/admin/keys/apikey/{row.pk}/change/",
        f"/admin/keys/apikey/{row.pk}/history/",
    ):
        page = staff.get(path)
        assert page.status_code == 200
        assert key not in page.content.decode()
        assert row.hash not in page.content.decode()


def test_admin_changes_a_keys_name_alone(staff: Client) -> None:
    """Hash, scopes and times in a forged form are ignored."""
    row, key = key_create("svc", frozenset([Scope.READ]))
    form = {"name": "new", "scopes": "admin", "hash": "0" * 64, "hint": "clk_other", "revoked_at": ""}
    assert staff.post(f"/admin/keys/apikey/{row.pk}/change/", form).status_code == 302
    assert key_caller(key) == KeyCaller(row.pk, "new", frozenset([Scope.READ]))


def test_admin_asks_for_a_scope(staff: Client) -> None:
    """A key that may do nothing, or something unknown, is not made."""
    for scopes in ([], ["root"]):
        assert staff.post("/admin/keys/apikey/add/", {"name": "svc", "scopes": scopes}).status_code == 200
    assert not ApiKey.objects.exists()


def test_admin_revokes_and_never_deletes(staff: Client) -> None:
    """The action revokes the chosen keys; there is no way to delete one."""
    row, key = key_create("svc", frozenset([Scope.READ]))
    chosen = {"action": "revoke", "_selected_action": [row.pk]}
    assert staff.post("/admin/keys/apikey/", chosen).status_code == 302
    with pytest.raises(KeyInvalid):
        key_caller(key)
    assert staff.post(f"/admin/keys/apikey/{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert "delete_selected" not in staff.get("/admin/keys/apikey/").content.decode()


def test_a_key_costs_a_call_one_query(client: Client, django_assert_num_queries: object) -> None:
    """Neither a session nor a user is looked up beside it, though a cookie comes along."""
    client.force_login(User.objects.create_user("ada"))
    _, key = key_create("svc", frozenset([Scope.PUBLISH]))
    with django_assert_num_queries(1):  # type: ignore[operator]
        answer = client.post(
            "/api/v1/channels/a*/publications", {"data": 1}, "application/json", headers={"X-API-Key": key}
        )
    assert (answer.status_code, answer.json()["code"]) == (400, "name_invalid")
    assert "session" not in answer.cookies.output()
