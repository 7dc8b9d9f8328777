"""deploy/scripts/smoke.sh against `make up`: it needs nothing of the deployment but its URL and a key."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from tests.support.product import ROOT, Product

CHECKS = ["ready", "closed", "token", "subscribe", "publish", "presence", "notification", "recover", "room"]


def smoke(url: str, key: str, *words: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run it; return what it did, and the seconds that it took."""
    began = time.monotonic()
    done = subprocess.run(
        [str(ROOT / "deploy" / "scripts" / "smoke.sh"), url, *words],
        env={"PATH": os.environ["PATH"], "CLARION_API_KEY": key},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done, time.monotonic() - began


def failed(done: subprocess.CompletedProcess[str]) -> set[str]:
    """The checks that failed, by the lines' own word."""
    return {line.split()[1] for line in done.stdout.splitlines() if line.split()[2] == "FAILED"}


def test_smoke_passes(product: Product) -> None:
    """One line a check, exit code 0, in under 20 s."""
    done, seconds = smoke(product.url, product.dev["api_key"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()] == CHECKS
    assert seconds < 20


def test_smoke_names_what_needs_the_key(product: Product) -> None:
    """A wrong key: what needs it fails, the rest does not, and the exit code says so."""
    done, _ = smoke(product.url, "clk_wrong")
    assert done.returncode == 1
    assert failed(done) == set(CHECKS) - {"ready", "closed"}


def test_smoke_needs_a_history(product: Product) -> None:
    """In a namespace without a history it says so, and what depends on it fails too."""
    done, _ = smoke(product.url, product.dev["api_key"], "--namespace", "lab")
    assert done.returncode == 1
    assert "keeps no history" in done.stdout
    assert {"subscribe", "recover"} <= failed(done)


@pytest.mark.parametrize("words", [("ftp://x",), ("http://127.0.0.1:1", "--nonsense"), ()])
def test_smoke_refuses_nonsense(words: tuple[str, ...]) -> None:
    """Arguments that are none end it with code 2."""
    done, _ = smoke(*(words[:1] or ("",)), "clk_x", *words[1:])
    assert done.returncode == 2


def test_smoke_without_a_key_says_so(product: Product) -> None:
    """So does a missing key."""
    done, _ = smoke(product.url, "")
    assert done.returncode == 2
    assert "CLARION_API_KEY" in done.stderr


def test_smoke_ends_in_time_when_nobody_answers() -> None:
    """Where nothing listens every check fails, at once."""
    done, seconds = smoke("http://127.0.0.1:1", "clk_x")
    assert done.returncode == 1
    assert failed(done) == set(CHECKS)
    assert seconds < 20
