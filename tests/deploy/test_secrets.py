"""deploy/scripts/secrets.sh."""

from __future__ import annotations

import subprocess
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_secrets_are_made_once(tmp_path: Path) -> None:
    """secrets.sh: random, long, in a folder for its owner alone, fallbacks empty; a second run changes nothing."""
    command = [str(ROOT / "deploy" / "scripts" / "secrets.sh"), str(tmp_path / "secrets")]
    subprocess.run(command, capture_output=True, check=True, timeout=60)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    empty = {name for name, secret in made.items() if not secret}
    assert empty == {"secret_key_fallbacks", "token_secret_fallbacks"}
    secrets = [secret for secret in made.values() if secret]
    assert min(map(len, secrets)) >= 32
    assert len(set(secrets)) == len(secrets)
    assert made["redis_password"] in made["redis_url"]
    assert made["postgres_password"] in made["database_url"]
    again = subprocess.run(command, capture_output=True, check=True, timeout=60, text=True)
    assert {line.split()[1] for line in again.stdout.splitlines()} == {"kept"}
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == made


def test_every_secret_can_be_rotated(tmp_path: Path) -> None:
    """docs/runbooks/secrets.md names each, by its variable or its file, in the part for Compose or before."""
    command = [str(ROOT / "deploy" / "scripts" / "secrets.sh"), str(tmp_path / "secrets")]
    subprocess.run(command, capture_output=True, check=True, timeout=60)
    page = (ROOT / "docs" / "runbooks" / "secrets.md").read_text()
    told = {path.name for path in (tmp_path / "secrets").iterdir() if path.name in page or path.name.upper() in page}
    left = {path.name for path in (tmp_path / "secrets").iterdir()} - told
    assert {name for name in left if not ("/redis_*" in page and fnmatch(name, "redis_*"))} == set()
