"""The console's modules of names, frames and texts."""

from __future__ import annotations

import json
import random
import shlex

import pytest

from clarion.errors import NameInvalid
from clarion.names import CHANNEL_MAX_CHARS, USER_ID_MAX_CHARS, channel_check
from tests.browser.modules import RunModule


def _problem(channel: str) -> str | None:
    try:
        channel_check(channel)
    except NameInvalid as exc:
        return exc.detail
    return None


def test_names_are_checked_as_the_server_checks_them(run_module: RunModule) -> None:
    """The page and ``clarion.names`` give the same verdict in the same words, on edges and on random names."""
    edges = [
        "",
        "a",
        "#",
        "#1",
        "#a,b",
        "##1",
        "chat:lobby",
        "a b",
        "a\tb",
        "a\\b",
        "caf\xe9",
        "a\u2028",
        "\U0001f600x",
    ]
    edges += ["x" * size for size in (CHANNEL_MAX_CHARS, CHANNEL_MAX_CHARS + 1)]
    edges += ["#" + "x" * size for size in (USER_ID_MAX_CHARS, USER_ID_MAX_CHARS + 1, CHANNEL_MAX_CHARS)]
    edges += [chr(code) for code in range(0x100)]
    dice = random.Random(3)
    alphabet = [chr(code) for code in range(0x20, 0x7F)] * 3 + ["#", ",", "\xe9", "\u20ac", "\U0001f600", "\n"]
    names = edges + ["".join(dice.choices(alphabet, k=dice.randint(1, 6))) for _ in range(2000)]
    names = [name for name in names if name not in {".", ".."}]
    verdicts = run_module("names", "return arg.map(module.channelProblem)", names)
    assert dict(zip(names, verdicts, strict=True)) == {name: _problem(name) for name in names}


@pytest.mark.parametrize("name", [".", ".."])
def test_names_that_no_address_can_hold_are_refused(run_module: RunModule, name: str) -> None:
    """A browser resolves ``/ws/../`` before it sends it, so such a room cannot be reached from a page."""
    assert run_module("names", "return module.channelProblem(arg)", name)


@pytest.mark.parametrize(
    ("typed", "frame"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ("  [1, 2]\n", "[1, 2]"),
        ("12345678901234567890", "12345678901234567890"),
        ("null", "null"),
        ("hello", '"hello"'),
        ("two\nlines", '"two\\nlines"'),
        ('{"a": ', '"{\\"a\\": "'),
        ("NaN", '"NaN"'),
    ],
)
def test_frame_is_json_if_it_parses_else_a_string(run_module: RunModule, typed: str, frame: str) -> None:
    """JSON goes out as typed, digits and all; any other text becomes a JSON string."""
    assert run_module("frames", "return module.frameOf(arg)", typed) == frame


@pytest.mark.parametrize(
    ("frame", "is_error"),
    [
        ('{"error":{"code":"permission_denied","message":"no"}}', True),
        ('{ "error" : {"code": "x", "message": "y"} }', True),
        ('{"error":{"code":7,"message":"no"}}', False),
        ('{"error":"text"}', False),
        ('{"error":{"code":"x","message":"y"},"more":1}', False),
        ('"error"', False),
        ("null", False),
        ("not json", False),
    ],
)
def test_error_frame_is_told_from_a_message(run_module: RunModule, frame: str, is_error: bool) -> None:
    """Only an object of exactly ``error`` with a code and a message is the gateway's answer."""
    assert (run_module("frames", "return module.errorOf(arg)", frame) is not None) is is_error


def test_json_is_indented_without_changing_it(run_module: RunModule) -> None:
    """The opened row shows the JSON that came: numbers and strings stay as they were, repeated keys too."""
    values: list[object] = [None, 1.5, 'a{,}:["\\', [], {}, [[], {}], {"a": [1, {"b": "c: d, e"}], "\u20ac": ""}]
    compact = [json.dumps(value, ensure_ascii=False) for value in values]
    indented = run_module("json_text", "return arg.map(module.jsonIndent)", compact)
    assert indented == [json.dumps(value, indent=2, ensure_ascii=False) for value in values]
    exact = ['{"n":12345678901234567890123,"e":1E400}', '{"a":1,"a":2}']
    assert run_module("json_text", "return arg.map(module.jsonIndent)", exact) == [
        '{\n  "n": 12345678901234567890123,\n  "e": 1E400\n}',
        '{\n  "a": 1,\n  "a": 2\n}',
    ]
    assert run_module("json_text", "return module.jsonIndent(arg)", "not json") == "not json"


@pytest.mark.parametrize("channel", ["chat:lobby", "#1", "a'b", "$(id)&x", "{[a,b]}", "a;b|c<d>e^`~!"])
def test_curl_line_survives_a_shell(run_module: RunModule, channel: str) -> None:
    """Whatever the channel's name holds, the line is one curl call to one address; a shell runs nothing else."""
    text = run_module("addresses", 'return module.curlText("http://127.0.0.1:8080", arg)', channel)
    words = shlex.split(text.replace("\\\n", ""))
    path = words[1].removeprefix("http://127.0.0.1:8080/api/v1/channels/")
    assert words[0] == "curl"
    assert not set(path) & set("#'$&;|<>`{}[]() ")
    assert words[words.index("-d") + 1] == '{"data": {"text": "Hello from curl"}}'


def test_room_address_encodes_the_channel(run_module: RunModule) -> None:
    """``#`` would start a fragment, which a WebSocket URL must not have; the scheme follows the page's."""
    body = 'return [module.roomUrl("https://push.example", "#1"), module.roomUrl("http://127.0.0.1:8080", "chat:a")]'
    assert run_module("addresses", body) == [
        "wss://push.example/ws/%231/?hello=1",
        "ws://127.0.0.1:8080/ws/chat:a/?hello=1",
    ]


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({"name": "idle"}, "Not joined"),
        ({"name": "connecting", "attempt": 0}, "Connecting"),
        ({"name": "open", "node": "gateway-2"}, "Open · gateway-2"),
        ({"name": "open", "node": ""}, "Open"),
        ({"name": "waiting", "attempt": 2, "retryAt": 3000, "code": 1006}, "Reconnecting in 3 s (try 2)"),
        ({"name": "waiting", "attempt": 1, "retryAt": 1, "code": 1006}, "Reconnecting in 1 s (try 1)"),
        ({"name": "stopped"}, "Stopped"),
        ({"name": "closed", "code": 4401, "reason": "x"}, "Closed 4401: not signed in"),
        ({"name": "closed", "code": 4499, "reason": "moved"}, "Closed 4499: moved"),
        ({"name": "closed", "code": 4499, "reason": ""}, "Closed 4499: the connection was closed"),
    ],
)
def test_pill_says_each_state_in_words(run_module: RunModule, state: dict[str, object], text: str) -> None:
    """The words of docs and page are the same ones."""
    assert run_module("state_pill", "return module.stateText(arg, 0)", state) == text
