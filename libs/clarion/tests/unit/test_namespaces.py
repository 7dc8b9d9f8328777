"""clarion.namespaces: clarion.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from clarion.errors import ConfigInvalid, NameInvalid, NamespaceUnknown
from clarion.namespaces import (
    ChannelOptions,
    ChannelTable,
    ClarionConfig,
    ClientTable,
    LimitsTable,
    TokenTable,
    config_load,
    config_parse,
)


def pem(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


RSA_PEM, WEAK_RSA_PEM = (pem(rsa.generate_private_key(65537, bits)) for bits in (2048, 1024))
EC_PEM, ODD_CURVE_PEM = (pem(ec.generate_private_key(curve)) for curve in (ec.SECP256R1(), ec.SECP256K1()))
ED25519_PEM = pem(ed25519.Ed25519PrivateKey.generate())


def namespaces(*entries: Any) -> dict[str, Any]:
    return {"namespaces": list(entries)}


def parse(channel: dict[str, Any], **tables: Any) -> ClarionConfig:
    return config_parse({"channel": channel, **tables})


def test_config_load_reads_centrifugos_structure(tmp_path: Path) -> None:
    """Tables and names are those of Centrifugo v6, as TOML."""
    path = tmp_path / "clarion.toml"
    path.write_text(
        '[client]\nallowed_origins = ["https://app.example"]\n'
        "[channel.without_namespace]\nallow_subscribe_for_client = true\n"
        '[[channel.namespaces]]\nname = "chat"\nallow_publish_for_client = true\n[limits]\npublication_bytes = 100\n'
    )
    config = config_load(path)
    assert config.client.allowed_origins == ["https://app.example"]
    assert config.options_of("plain").allow_subscribe_for_client
    assert config.options_of("chat:x").allow_publish_for_client
    assert not config.options_of("chat:x").allow_subscribe_for_client
    assert config.limits.publication_bytes == 100


def test_nothing_is_open_unless_a_namespace_says_so() -> None:
    """Without a file no channel exists but personal ones, and those are open to nobody by options."""
    config = ClarionConfig()
    for channel in ("plain", "chat:x", ":x"):
        with pytest.raises(NamespaceUnknown):
            config.options_of(channel)
    personal = config.options_of("#1")
    assert not personal.allow_subscribe_for_client
    assert not personal.allow_publish_for_client


def test_config_parse_tells_all_problems_at_once() -> None:
    """An operator mends a file once, not once a problem; an unknown option names its nearest one."""
    with pytest.raises(ConfigInvalid) as caught:
        config_parse(
            {
                "channel": {"namespaces": [{"name": "chat", "allow_subscribe_for_clients": True}, {"name": "chat:x"}]},
                "limits": {"publication_bytes": "many"},
                "cleint": {},
            }
        )
    text = str(caught.value)
    assert len(caught.value.problems) == 4
    assert "namespaces.chat.allow_subscribe_for_clients: no such option; the nearest one is" in text
    assert "cleint: no such option; the nearest one is client" in text
    assert "limits.publication_bytes" in text


def test_a_bad_option_does_not_hide_a_bad_combination() -> None:
    """Wrong options, wrong combinations and wrong entries of a list are told in the same run; none of them twice."""
    with pytest.raises(ConfigInvalid) as caught:
        parse(
            namespaces(
                {"name": "x", "history_size": -1, "history_ttl": "300s"},  # too short a name, and a bad option
                {"name": "one", "history_size": 10},
                {"name": "two", "history_size": "many", "force_recovery": True},  # nothing follows from "many"
                {"name": "three", "force_recovery": True},
                {"history_ttl": "300s"},
                7,
            ),
            client={"ping_interval": "1s", "pong_timeout": "1s"},
            limits={"room_frame_bytes": 0},
        )
    lines = [problem.removeprefix("clarion.toml: ").split(": ")[0] for problem in caught.value.problems]
    assert sorted(lines) == sorted(
        [
            "limits.room_frame_bytes",
            "channel.namespaces.x.name",
            "channel.namespaces.x.history_size",
            "channel.namespaces.two.history_size",
            "channel.namespaces.4.name",
            "channel.namespaces.5",
            "channel.namespaces.one.history_size and history_ttl",
            "channel.namespaces.three.force_recovery and history_size and history_ttl",
            "client.pong_timeout and ping_interval",
        ]
    )


WRONG: list[tuple[str, Any, str]] = [
    ("presence", 1, "boolean"), ("join_leave", "yes", "boolean"), ("force_push_join_leave", None, "boolean"),
    ("history_size", 1.5, "integer"), ("history_size", True, "integer"), ("history_size", -1, "greater than"),
    ("history_size", 10_000_000, "less than"), ("history_ttl", 300, "text with a unit"),
    ("history_ttl", "5", "no dura"), ("history_ttl", "1.5s", "whole seconds"), ("history_ttl", "-1s", "no dura"),
    ("history_meta_ttl", "1ms", "whole sec"), ("history_meta_ttl", "99999999h", "ten years"),
    ("force_positioning", 0, "boolean"), ("allow_positioning", 0, "bool"), ("force_recovery", 0, "boolean"),
    ("allow_recovery", 0, "boolean"), ("force_recovery_mode", "all", "stream"),
    ("allow_subscribe_for_client", 1, "bool"), ("allow_subscribe_for_anonymous", 1, "bool"),
    ("allow_publish_for_subscriber", 1, "bool"), ("allow_publish_for_client", 1, "bool"),
    ("allow_publish_for_anonymous", 1, "bool"), ("allow_history_for_subscriber", 1, "bool"),
    ("allow_history_for_client", 1, "bool"), ("allow_history_for_anonymous", 1, "bool"),
    ("allow_presence_for_subscriber", 1, "bool"), ("allow_presence_for_client", 1, "bool"),
    ("allow_presence_for_anonymous", 1, "bool"), ("allow_tags_filter", 1, "bool"), ("delta_publish", 1, "bool"),
    ("allowed_delta_types", "fossil", "list"), ("allowed_delta_types", ["zstd"], "fossil"),
    ("allow_user_limited_channels", 1, "bool"), ("channel_regex", "(", "not a regular expression"),
    ("channel_regex", "a{9999999999}", "not a regular expression"), ("name", "a", "2 to 64"),
    ("name", "a:b", "2 to 64"), ("name", "a" * 65, "2 to 64"), ("name", 7, "string"),
]  # fmt: skip


def test_every_option_of_a_channel_is_checked() -> None:
    """No option is without a case below."""
    assert {name for name, _, _ in WRONG} == {*ChannelOptions.model_fields, "name"}


@pytest.mark.parametrize(("name", "value", "text"), WRONG)
def test_a_wrong_value_of_an_option_is_refused(name: str, value: Any, text: str) -> None:
    """Its type, its range, its words: one problem that names the option, and not the value."""
    with pytest.raises(ConfigInvalid, match=text) as caught:
        parse(namespaces({"name": "chat", name: value}))
    [problem] = caught.value.problems
    assert f".{name}" in problem.partition(": ")[2]


WRONG_ELSEWHERE: list[tuple[str, Any, str]] = [
    ("client.insecure", "true", "bool"), ("client.allowed_origins", "https://a.example", "list"),
    ("client.allowed_origins", ["*"], "list each origin"),
    ("client.allowed_origins", ["https://*.a.example"], "a pattern matches no origin"),
    ("client.allowed_origins", ["https://a.example", "https://b.example/"], "'https://b.example/': not an origin"),
    ("client.allowed_origins", ["a.example"], "not an origin"), ("client.allowed_origins", [""], "not an origin"),
    ("client.allowed_origins", ["https://a.example:443"], "leaves out"),
    ("client.allowed_origins", ["https://ä.example"], "not an origin"),
    ("client.allow_anonymous_connect_without_token", 1, "bool"), ("client.token", "x", "dictionary"),
    ("client.token.hmac_secret_key", 7, "string"), ("client.token.hmac_previous_secret_key", "-----BEGIN", "PEM"),
    ("client.token.hmac_secret_key", "-----BEGIN PUBLIC KEY-----", "PEM"), ("client.token.audience", ["a"], "string"),
    ("client.token.issuer", 7, "string"), ("client.token.rsa_public_key", "x", "not a public key"),
    ("client.token.rsa_public_key", EC_PEM, "not an RSA"), ("client.token.rsa_public_key", WEAK_RSA_PEM, "2048 bits"),
    ("client.token.rsa_public_key", ED25519_PEM, "not an RSA"),
    ("client.token.ecdsa_public_key", RSA_PEM, "not an ECDSA"),
    ("client.token.ecdsa_public_key", ODD_CURVE_PEM, "P-256"),
    ("client.token.ecdsa_public_key", "x", "not a public key"),
    ("client.token.jwks_public_endpoint", "ftp://a/b", "http or https"),
    ("client.token.jwks_public_endpoint", "https://", "http or https"),
    ("client.token.jwks_public_endpoint", "file:///etc/passwd", "http or https"),
    ("client.token.jwks_public_endpoint", "https://u:p@idp.example/", "password"),
    ("client.subscription_token.enabled", "no", "bool"), ("client.subscription_token", {}, "without any key"),
    ("client.subscribe_to_user_personal_channel.enabled", 1, "bool"),
    ("client.history_max_publication_limit", -1, "greater"),
    ("client.recovery_max_publication_limit", "1", "integer"), ("client.channel_limit", 0, "greater"),
    ("client.user_connection_limit", -1, "greater"), ("client.ping_interval", "900ms", "at least 1s"),
    ("client.ping_interval", 25, "text with a unit"), ("client.pong_timeout", "0", "more than 0"),
    ("client.pong_timeout", "25s", "less than"), ("client.stale_close_delay", "0s", "more than 0"),
    ("client.expired_close_delay", "x", "no duration"), ("client.expired_sub_close_delay", "1", "no duration"),
    ("channel.history_meta_ttl", "0s", "more than 0"), ("channel.history_meta_ttl", "1.5s", "whole seconds"),
    ("channel.namespaces", {}, "list"), ("channel.without_namespace", [], "dictionary"),
    ("channel.personal", 1, "dictionary"), ("limits.publication_bytes", 0, "greater"),
    ("limits.room_frame_bytes", 2**30, "less"), ("limits.connection_frame_bytes", 1, "greater"),
    ("limits.connection_frame_bytes", 2_000, "cannot hold"), ("limits.commands_per_s", -1, "greater"),
    ("limits.commands_burst", 0, "greater"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "text"), WRONG_ELSEWHERE)
def test_a_wrong_value_elsewhere_is_refused(path: str, value: Any, text: str) -> None:
    """As above; a problem of two options together names both."""
    raw: Any = value
    for part in reversed(path.split(".")):
        raw = {part: raw}
    with pytest.raises(ConfigInvalid, match=text) as caught:
        config_parse(raw)
    [problem] = caught.value.problems
    assert path.split(".")[-1] in problem.partition(": ")[2]


def test_every_option_elsewhere_is_checked() -> None:
    """No option of the other tables is without a case above."""
    tables = {"client": ClientTable, "client.token": TokenTable, "channel": ChannelTable, "limits": LimitsTable}
    names = {f"{path}.{name}" for path, table in tables.items() for name in table.model_fields}
    tried = {path for path, _, _ in WRONG_ELSEWHERE}
    tried |= {".".join(path.split(".")[:2]) for path in tried}
    assert names - tried == set()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"history_size": 10}, "needs both"),
        ({"history_ttl": "10s"}, "needs both"),
        ({"force_recovery": True}, "force_recovery needs"),
        ({"history_size": 1, "history_ttl": "721h"}, "at most history_meta_ttl, which is 720h"),
        ({"history_size": 1, "history_ttl": "2h", "history_meta_ttl": "1h"}, "at most history_meta_ttl, which is 1h"),
    ],
)
@pytest.mark.parametrize("table", ["namespace", "without_namespace", "personal"])
def test_combinations_that_cannot_work_are_refused(table: str, options: dict[str, Any], text: str) -> None:
    """History needs its two options, recovery needs history, and positions outlive publications: in every table."""
    if table == "personal":
        options = {"force_recovery": False, "history_size": 0, "history_ttl": "0", **options}
    with pytest.raises(ConfigInvalid, match=text):
        parse(namespaces({"name": "chat", **options}) if table == "namespace" else {table: options})


@pytest.mark.parametrize(
    ("options", "idle"),
    [
        ({"force_positioning": True}, ["force_positioning"]), ({"allow_positioning": True}, ["allow_positioning"]),
        ({"allow_recovery": True}, ["allow_recovery"]), ({"force_recovery_mode": "cache"}, ["force_recovery_mode"]),
        ({"allowed_delta_types": ["fossil"]}, ["allowed_delta_types"]), ({"delta_publish": True}, ["delta_publish"]),
        ({"allow_history_for_client": True}, ["allow_history_for_client"]),
        ({"allow_presence_for_subscriber": True}, ["allow_presence_for_client"]),
        ({"force_push_join_leave": True}, ["force_push_join_leave"]),
        ({"allow_publish_for_anonymous": True}, ["allow_publish_for_anonymous"]),
        ({"allow_subscribe_for_anonymous": True}, ["allow_subscribe_for_anonymous"]),
        ({"allow_history_for_anonymous": True}, ["allow_history_for_anonymous"]),
        ({"presence": True, "allow_presence_for_anonymous": True}, ["allow_presence_for_anonymous"]),
        ({"allow_publish_for_subscriber": True, "allow_publish_for_anonymous": True}, []),
        ({"history_size": 1, "history_ttl": "1s", "allow_recovery": True, "force_recovery_mode": "cache"}, []),
    ],
)  # fmt: skip
def test_options_without_effect_are_warnings(options: dict[str, Any], idle: list[str]) -> None:
    """A file that serves Centrifugo is not refused for them; whoever checks it is told."""
    config = parse(namespaces({"name": "chat", **options}))
    assert [warning.partition(": ")[0] for warning in config.warnings()] == [
        f"channel.namespaces.chat.{n}" for n in idle
    ]


def test_a_default_configuration_has_no_warnings() -> None:
    """Nobody is warned of what they have not written."""
    assert ClarionConfig().warnings() == []


def test_config_defaults_are_centrifugos() -> None:
    """Who leaves an option out gets what they had."""
    client = ClarionConfig().client
    assert (client.ping_interval, client.pong_timeout, client.stale_close_delay) == (25, 8, 10)
    assert (client.expired_close_delay, client.expired_sub_close_delay) == (25, 25)
    assert (client.history_max_publication_limit, client.recovery_max_publication_limit) == (300, 300)
    assert (client.channel_limit, client.user_connection_limit) == (128, 0)
    assert ClarionConfig().channel.history_meta_ttl == 720 * 3600
    assert ClarionConfig().limits.publication_bytes == 65_536
    assert ClarionConfig().limits.connection_frame_bytes == 1_048_576


def test_history_meta_ttl_is_inherited() -> None:
    """A namespace's own, else channel.history_meta_ttl, else 720h; also of personal channels and those without one."""
    config = parse(
        {
            "history_meta_ttl": "48h",
            "without_namespace": {},
            **namespaces({"name": "own", "history_meta_ttl": "1h"}, {"name": "none"}),
        }
    )
    channels = ("own:x", "none:x", "plain", "#1")
    assert [config.options_of(channel).history_meta_ttl_s for channel in channels] == [3600, 172800, 172800, 172800]
    assert ChannelOptions().history_meta_ttl_s == 720 * 3600


def test_is_recoverable_is_size_and_ttl() -> None:
    """A channel with history; False for one that does not exist."""
    config = parse(namespaces({"name": "kept", "history_size": 1, "history_ttl": "1s"}, {"name": "plain"}))
    channels = ("kept:x", "plain:x", "nope:x", "none", "#1")
    assert [config.is_recoverable(channel) for channel in channels] == [True, False, False, False, True]
    assert config.has_recoverable
    assert not parse({"personal": {"history_size": 0}}).has_recoverable


def test_personal_channels_have_options_of_their_own() -> None:
    """A day of a hundred publications, unless told otherwise; history_size = 0 alone switches all of that off."""
    personal = ClarionConfig().options_of("#7")
    assert (personal.history_size, personal.history_ttl_s, personal.force_recovery) == (100, 86_400, True)
    assert not personal.presence
    assert parse({"personal": {"history_size": 5}}).options_of("#7").history_ttl_s == 86_400
    off = parse({"personal": {"history_size": 0, "presence": True}}).options_of("#7")
    assert (off.has_history, off.force_recovery, off.presence) == (False, False, True)


def test_insecure_brings_channels_without_a_namespace() -> None:
    """The first try of a newcomer is one line; a namespace that is not defined stays unknown."""
    config = config_parse({"client": {"insecure": True}})
    assert not config.options_of("news").has_history
    with pytest.raises(NamespaceUnknown):
        config.options_of("chat:x")


@pytest.mark.parametrize(
    ("channel", "ok"), [("chat:room-1", True), ("chat:Room", False), ("chat:a:b", False), ("chat:", False)]
)
def test_channel_regex_looks_at_what_follows_the_namespace(channel: str, ok: bool) -> None:
    """As in Centrifugo: searched in the part after the first colon."""
    options = parse(namespaces({"name": "chat", "channel_regex": "^[a-z0-9-]+$"})).options_of(channel)
    if ok:
        assert options.name_check(channel) == channel
    else:
        with pytest.raises(NameInvalid):
            options.name_check(channel)


def test_channel_regex_without_a_namespace_looks_at_the_whole_name() -> None:
    """There is nothing before it."""
    options = parse({"without_namespace": {"channel_regex": "^ne"}}).options_of("news")
    assert options.name_check("news") == "news"
    with pytest.raises(NameInvalid):
        options.name_check("old-news")


def test_keys_are_not_shown() -> None:
    """A configuration may be logged."""
    config = config_parse({"client": {"token": {"hmac_secret_key": "hunter2" * 8}}})
    assert "hunter2" not in repr(config)
    assert "hunter2" not in str(config.model_dump())


def test_a_problem_does_not_quote_a_secret() -> None:
    """Nor whatever stands where one should."""
    with pytest.raises(ConfigInvalid) as caught:
        config_parse({"client": {"token": {"hmac_secret_key": "-----BEGIN hunter2", "rsa_public_key": "hunter2"}}})
    assert len(caught.value.problems) == 2
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("channel.namespaces.0.history_sise", "history_size"), ("channel.namespaces.0.recover", "force_recovery"),
        ("channel.personal.presense", "presence"), ("client.token.hmac_secret", "hmac_secret_key"),
        ("client.hmac_secret_key", "client.token.hmac_secret_key"), ("namespaces", "channel.namespaces"),
        ("client.ping_intervall", "ping_interval"), ("limits.publication_size", "publication_bytes"),
    ],
)  # fmt: skip
def test_an_unknown_option_names_its_nearest(path: str, near: str) -> None:
    """In its own table first; with its way, where it belongs elsewhere."""
    raw: Any = 1
    for part in reversed(path.split(".")):
        raw = [{"name": "chat", **raw}] if part == "0" else {part: raw}
    with pytest.raises(ConfigInvalid, match=f"the nearest one is {near}$"):
        config_parse(raw)


def test_config_parse_refuses_a_namespace_defined_twice() -> None:
    """Which of the two would hold?"""
    with pytest.raises(ConfigInvalid, match="defined twice: chat"):
        config_parse({"channel": {"namespaces": [{"name": "chat"}, {"name": "chat"}]}})


@pytest.mark.parametrize("text", ["[client", "\udcff", None])
def test_config_load_tells_what_is_wrong_with_a_file(tmp_path: Path, text: str | None) -> None:
    """A missing or broken file is one clear problem with its path."""
    path = tmp_path / "clarion.toml"
    if text is not None:
        path.write_text(text, errors="surrogateescape")
    with pytest.raises(ConfigInvalid, match=r"clarion\.toml"):
        config_load(path)
