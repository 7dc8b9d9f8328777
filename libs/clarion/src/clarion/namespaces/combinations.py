"""Options that are right each by itself and wrong, or without effect, together.

Wrong is what Centrifugo refuses, too. What merely has no effect is a warning: a file that serves Centrifugo is not
refused for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from clarion.namespaces.options import ChannelOptions, Namespace
from clarion.namespaces.tables import ChannelTable, ClientTable, LimitsTable, TokenTable

Path = tuple[str, ...]


class Finding(NamedTuple):
    """Options that do not go together.

    Attributes:
        table: the way to their table.
        options: their names in it, none for the whole table; with one of them wrong by itself, nothing can be said of
            the combination.
        text: what is wrong.
    """

    table: Path
    options: tuple[str, ...]
    text: str


def contradictions(client: ClientTable, channel: ChannelTable, limits: LimitsTable) -> Iterator[Finding]:
    """Every combination that cannot work."""
    for path, options in channel_tables(channel):
        yield from _history_contradictions(path, options, channel)
    names = [namespace.name for namespace in channel.namespaces]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        yield Finding(("channel",), ("namespaces",), f"defined twice: {', '.join(twice)}")
    if client.pong_timeout >= client.ping_interval:
        yield Finding(("client",), ("pong_timeout", "ping_interval"), "a pong_timeout is less than the ping_interval")
    for path, token in _token_tables(client):
        previous, current = token.hmac_previous_secret_key.get_secret_value(), token.hmac_secret_key.get_secret_value()
        if previous and previous == current:
            yield Finding(path, ("hmac_previous_secret_key", "hmac_secret_key"), "both HMAC keys are the same one")
    own = client.subscription_token
    if own is not None and own.enabled and not (own.has_keys or own.hmac_previous_secret_key.get_secret_value()):
        text = "without any key no subscription token is accepted; left out, the keys of client.token count"
        yield Finding(("client", "subscription_token"), (), text)
    if limits.connection_frame_bytes < limits.publication_bytes:
        yield Finding(
            ("limits",),
            ("connection_frame_bytes", "publication_bytes"),
            "a frame of connection_frame_bytes cannot hold a publication of publication_bytes",
        )


def _history_contradictions(path: Path, options: ChannelOptions, channel: ChannelTable) -> Iterator[Finding]:
    history = ("history_size", "history_ttl")
    if (options.history_size > 0) != (options.history_ttl > 0):
        yield Finding(path, history, "history needs both history_size and history_ttl")
    elif options.force_recovery and not options.has_history:
        yield Finding(path, ("force_recovery", *history), "force_recovery needs history_size and history_ttl")
    meta_ttl = options.history_meta_ttl or channel.history_meta_ttl
    if options.history_ttl > meta_ttl:
        # The offset would start anew while clients hold a higher one of the same stream.
        text = f"history_ttl is at most history_meta_ttl, which is {meta_ttl}"
        yield Finding(path, ("history_ttl", "history_meta_ttl"), text)


def idle_options(client: ClientTable, channel: ChannelTable) -> Iterator[Finding]:
    """Every option that has no effect because of others: most likely a mistake."""
    for path, options in channel_tables(channel):
        yield from _idle_without_history(path, options)
        yield from _idle_permissions(path, options)
        if options.force_push_join_leave and not options.join_leave:
            yield Finding(path, ("force_push_join_leave",), "has no effect without join_leave")
        if not options.presence and any((options.allow_presence_for_client, options.allow_presence_for_subscriber)):
            yield Finding(path, ("allow_presence_for_client",), "nobody can ask who is there without presence")
        if options.delta_publish and not options.allowed_delta_types:
            yield Finding(path, ("delta_publish",), "has no effect without allowed_delta_types")
    if client.subscription_token is not None and not client.subscription_token.enabled:
        yield Finding(("client",), ("subscription_token",), "has no effect with enabled = false")


def _idle_without_history(path: Path, options: ChannelOptions) -> Iterator[Finding]:
    if options.has_history:
        return
    names = ("force_positioning", "allow_positioning", "allow_recovery", "force_recovery_mode", "allowed_delta_types",
             "allow_history_for_client", "allow_history_for_subscriber")  # fmt: skip
    personal = {"allow_history_for_subscriber"} if path == ("channel", "personal") else set()
    for name in names:
        if getattr(options, name) and name not in personal:
            yield Finding(path, (name,), "has no effect without history_size and history_ttl")


def _idle_permissions(path: Path, options: ChannelOptions) -> Iterator[Finding]:
    for what, others in (
        ("subscribe", ("client",)),
        ("publish", ("client", "subscriber")),
        ("history", ("client", "subscriber")),
        ("presence", ("client", "subscriber")),
    ):
        name = f"allow_{what}_for_anonymous"
        wanted = [f"allow_{what}_for_{other}" for other in others]
        if getattr(options, name) and not any(getattr(options, other) for other in wanted):
            yield Finding(path, (name,), f"has no effect without {' or '.join(wanted)}")


def channel_tables(channel: ChannelTable) -> Iterator[tuple[Path, ChannelOptions]]:
    """Every table of channels' options, with the way to it; a namespace is called by its name."""
    if channel.without_namespace is not None:
        yield ("channel", "without_namespace"), channel.without_namespace
    yield ("channel", "personal"), channel.personal
    for namespace in channel.namespaces:
        yield namespace_path(namespace), namespace


def namespace_path(namespace: Namespace) -> Path:
    """The way to a namespace's table."""
    return ("channel", "namespaces", namespace.name)


def _token_tables(client: ClientTable) -> Iterator[tuple[Path, TokenTable]]:
    yield ("client", "token"), client.token
    if client.subscription_token is not None:
        yield ("client", "subscription_token"), client.subscription_token
