"""http_api.health: bounded in time, one answer a check."""

from __future__ import annotations

import threading
import time

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from structlog.testing import capture_logs

from http_api.health import middleware
from http_api.health.checks import BoundedCheck, CheckFailed, MigrationsCheck, checks


def ask(check: BoundedCheck, timeout_s: float = 20) -> str:
    """Ask once."""
    return check.answer(check.start(), time.monotonic() + timeout_s)


def test_a_check_says_ok_or_why_not() -> None:
    """Nothing raised is ok; a CheckFailed says why; anything else says no more than that it failed."""

    def failed() -> None:
        raise CheckFailed("migrations are missing")

    def broken() -> None:
        raise RuntimeError("password=hunter2")

    good = BoundedCheck("good", lambda: None)
    assert not good.was_ok
    assert ask(good) == "ok"
    assert good.was_ok
    assert ask(BoundedCheck("failed", failed)) == "migrations are missing"
    assert ask(BoundedCheck("broken", broken)) == "unavailable"


def test_a_check_that_hangs_is_asked_once() -> None:
    """It answers "no answer" in time, however often it is asked, by one thread; afterwards it recovers."""
    release, asked = threading.Event(), []

    def hang() -> None:
        asked.append(threading.current_thread())
        assert release.wait(60)

    check = BoundedCheck("hung", hang)
    assert [ask(check, 0.01) for _ in range(3)] == ["no answer"] * 3
    assert len(asked) == 1
    assert asked[0].daemon, "a stopping worker does not wait for it"
    release.set()
    asked[0].join(20)
    assert ask(check) == "ok"


def test_a_check_that_hangs_is_logged_without_the_reason_of_another_answer() -> None:
    """Redis refused, and is silent now: what it said then explains nothing of that."""
    release, answers = threading.Event(), iter(["CLARION_REDIS_URL: NOAUTH", ""])

    def refused_then_silent() -> None:
        if reason := next(answers):
            raise CheckFailed("unavailable", reason)
        assert release.wait(60)

    check = BoundedCheck("redis", refused_then_silent)
    with capture_logs() as logs:
        assert ask(check) == "unavailable"
        assert ask(check, 0.01) == "no answer"
    release.set()
    assert [log["reason"] for log in logs] == ["CLARION_REDIS_URL: NOAUTH", ""]


@pytest.mark.django_db
def test_missing_migrations_are_told_until_they_are_there() -> None:
    """A missing one fails the check; once all are applied nothing is asked any more."""
    check = MigrationsCheck()
    MigrationRecorder.Migration.objects.filter(app="keys").delete()
    with pytest.raises(CheckFailed, match="migrations are missing"):
        check()
    MigrationRecorder(connection).record_applied("keys", "0001_initial")
    check()
    MigrationRecorder.Migration.objects.filter(app="keys").delete()
    check()


@pytest.mark.parametrize("was_ok", [False, True])
@pytest.mark.parametrize("check", ["database", "redis", "migrations"])
def test_every_check_is_told_and_redis_alone_gates_only_once(
    check: str, was_ok: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a Redis that was there most of the API works: what waits in the outbox, the admin, pages, tokens."""
    answers = dict.fromkeys(["database", "redis", "migrations"], "ok") | {check: "no answer"}
    monkeypatch.setattr(middleware, "readiness", lambda: answers)
    monkeypatch.setattr(checks()[check], "was_ok", was_ok)
    answer = Client().get("/health/ready")
    is_ready = check == "redis" and was_ok
    assert answer.status_code == (200 if is_ready else 503)
    assert answer.json() == {"status": "ok" if is_ready else "unavailable", "checks": answers}


def test_a_probe_that_says_no_is_not_logged_as_a_failed_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The change is logged once, by the check; Django's "Service Unavailable" would follow each probe."""
    monkeypatch.setattr(middleware, "readiness", lambda: {"database": "unavailable"})
    assert Client().get("/health/ready").status_code == 503
    assert not [record for record in caplog.records if record.name == "django.request"]
