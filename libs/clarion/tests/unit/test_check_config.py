"""clarion check-config: the command, as an operator runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from clarion.command_line import main
from clarion.namespaces import config_parse

FILE = """
[[channel.namespaces]]
name = "chat"
allow_subscribe_for_client = true
allow_publish_for_subscriber = true
history_size = 10
history_ttl = "1h30m"
allow_recovery = true

[[channel.namespaces]]
name = "talk"
allow_user_limited_channels = true
delta_publish = true
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CLARION_CONFIG", "CLARION_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "clarion.toml"
    path.write_text(FILE)
    return path


def test_the_console_script_is_installed(file: Path) -> None:
    """pip install brings the command; it reads CLARION_CONFIG."""
    script = Path(sys.executable).with_name("clarion")
    done = subprocess.run(
        [script, "check-config"],
        env={**os.environ, "CLARION_CONFIG": str(file)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{file}: no problems\n" in done.stdout
    assert "namespaces: chat, talk; channels without a namespace: do not exist" in done.stdout
    assert "warning: channel.namespaces.talk.delta_publish: has no effect" in done.stdout


def test_a_channel_is_explained(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The options that hold, and for each right yes or no and the option that decides."""
    assert main(["check-config", "--config", str(file), "--channel", "chat:x", "--user", "7", "--user", ""]) == 0
    said = capsys.readouterr().out
    assert "channel 'chat:x': namespace chat" in said
    for line in ('history_ttl = "1h30m"', 'history_meta_ttl = "720h"', "allow_recovery = true"):
        assert f"  {line}\n" in said
    assert "presence = " not in said
    user, anonymous = said.split("user '7'")[1].split("a client without a user id")
    assert "subscribe yes: allow_subscribe_for_client is on" in user
    assert "publish   yes while subscribed: allow_publish_for_subscriber is on" in user
    assert "history   no: allow_history_for_client is off" in user
    assert "presence  no: presence is off" in user
    assert "subscribe no: the client has no user id, and allow_subscribe_for_anonymous is off" in anonymous
    assert "with a token that grants the channel: yes" in anonymous


def test_without_a_user_those_of_the_name_are_asked_for(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A user-limited and a personal channel name their users; others and anonymous clients are told beside."""
    assert main(["check-config", "--config", str(file), "--channel", "talk:x#1,2"]) == 0
    said = capsys.readouterr().out
    headings = [line for line in said.splitlines() if line.startswith(("user ", "any ", "a client"))]
    assert headings == ["user '1'", "user '2'", "any other client with a user id", "a client without a user id"]
    assert said.count("subscribe yes: the channel's name lists this user") == 2
    assert main(["check-config", "--channel", "#7"]) == 0
    said = capsys.readouterr().out
    assert "the personal channel of user '7'" in said
    assert said.startswith("no file was checked: neither --config nor CLARION_CONFIG names one")


@pytest.mark.parametrize(
    ("channel", "user", "text", "code"),
    [
        ("nope:x", "7", "the namespace 'nope' is not defined", 1),
        ("plain", "7", "channels without a namespace are not", 1),
        ("chat:a b", "7", "is not allowed", 0), ("chat:x", "a,b", "neither", 0), ("chat:\x1b[31m", "7", "\\x1b", 0),
    ],
)  # fmt: skip
def test_a_name_that_cannot_be_is_explained(
    file: Path, capsys: pytest.CaptureFixture[str], channel: str, user: str, text: str, code: int
) -> None:
    """A question about it is answered, with exit code 1 if the channel is not defined; no escape is printed."""
    assert main(["check-config", "--config", str(file), "--channel", channel, "--user", user]) == code
    said = capsys.readouterr().out
    assert text in said
    assert "\x1b" not in said


def test_a_wrong_file_ends_with_all_problems_and_78(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, one a line, each with the file's path."""
    file.write_text(FILE + "history_size = 1\n[limits]\nnope = 1\npublication_bytes = 0\n")
    assert main(["check-config", "--config", str(file), "--channel", "chat:x"]) == 78
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"{file}: ") for line in lines)
    missing = file.parent / "none.toml"
    assert main(["check-config", "--config", str(missing)]) == 78
    assert capsys.readouterr().err == f"{missing}: No such file or directory\n"


def test_what_production_refuses_is_a_warning_elsewhere(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A developer's file may be insecure; with CLARION_ENVIRONMENT=production the answer is that of a service."""
    file.write_text('[client]\ninsecure = true\n[client.token]\nhmac_secret_key = "short"\n')
    assert main(["check-config", "--config", str(file)]) == 0
    assert capsys.readouterr().out.count("warning: production refuses client.") == 2
    monkeypatch.setenv("CLARION_ENVIRONMENT", "production")
    assert main(["check-config", "--config", str(file)]) == 78
    assert len(capsys.readouterr().err.splitlines()) == 2
    monkeypatch.setenv("CLARION_ENVIRONMENT", "staging")
    assert main(["check-config", "--config", str(file)]) == 78
    assert "CLARION_ENVIRONMENT" in capsys.readouterr().err


def test_wrong_arguments_end_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    """As of every command."""
    for arguments in ([], ["nope"], ["check-config", "--nope"], ["check-config", "--user", "7"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
    assert "usage: clarion" in capsys.readouterr().err


def test_the_how_tos_files_are_right() -> None:
    """Every file that docs/how-to/configure-channels.md shows loads without a problem or a warning."""
    page = Path(__file__).parents[4] / "docs" / "how-to" / "configure-channels.md"
    files = re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(files) >= 4
    for text in files:
        assert config_parse(tomllib.loads(text)).warnings() == []
