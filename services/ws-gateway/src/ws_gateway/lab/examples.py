"""The lab's lessons, in the order of ``docs/tutorial/channels.md``: what the page and its tests walk through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Variant:
    """One path of a lesson and the consumer behind it."""

    label: str
    """The consumer's class, or what tells this path from its neighbours."""
    path: str
    """The socket's path, or its beginning where the lesson's own script adds the rest."""
    source: str
    """The file in ``consumers/``."""


@dataclass(frozen=True)
class Example:
    """One card of the page."""

    slug: str
    """The card's fragment, the anchor of its section in the tutorial, and the name of its module and template."""
    title: str
    teaches: tuple[str, str, str]
    variants: tuple[Variant, ...]
    more: tuple[str, ...] = ()
    """Further files of this package that the lesson is made of."""
    first_message: str = "Hello"
    """What stands in the composer at first."""
    hint: str = 'Text goes out as {"msg": …}, binary as its bytes.'
    """What becomes of what is typed."""

    @property
    def module(self) -> str:
        """The browser's code, as a static file."""
        return f"lab/lessons/{self.slug}.js"

    @property
    def template(self) -> str:
        """What the card shows between its buttons and its frames."""
        return f"lab/lessons/{self.slug}.html"


EXAMPLES: Final = (
    Example(
        slug="consumers",
        title="Consumers",
        teaches=(
            "A consumer is a class with a method for each event of one connection: connect, receive, disconnect.",
            "SyncConsumer is blocking Python in a thread; AsyncConsumer is the same code on the event loop.",
            "Both accept the handshake, answer each message, and end with StopConsumer.",
        ),
        variants=(
            Variant("SyncConsumer", "/ws/lab/sc/", "sync_consumer.py"),
            Variant("AsyncConsumer", "/ws/lab/ac/", "async_consumer.py"),
        ),
        more=("frames.py", "routing.py"),
    ),
    Example(
        slug="counter",
        title="Counter",
        teaches=(
            "A message starts a counter that sends thirty numbers, one a second.",
            "The sync one blocks its thread while it sleeps; the async one gives the event loop back at each await.",
            "Open five at once and the chart shows when each number arrived.",
        ),
        variants=(
            Variant("Sync", "/ws/lab/counter/sync/", "counter_sync.py"),
            Variant("Async", "/ws/lab/counter/async/", "counter_async.py"),
        ),
        more=("limits.py", "threads.py"),
        first_message="start",
    ),
    Example(
        slug="json",
        title="JSON",
        teaches=(
            "A WebSocket carries text: JSON.stringify writes it, json.loads reads it, json.dumps answers.",
            "The composer sends what you type, as you type it, so you may leave out a bracket.",
            "Malformed JSON gets an error frame with a code, and the socket stays open.",
        ),
        variants=(Variant("JSON", "/ws/lab/json/", "json_both_ways.py"),),
        first_message='{"msg": "Hello"}',
        hint="Text goes out as you type it.",
    ),
    Example(
        slug="group",
        title="Group",
        teaches=(
            "group_add puts a connection into the group programmers; group_discard takes it out again.",
            "group_send hands a message of type chat.message to the method chat_message of every member.",
            "The sync consumer does the same through async_to_sync, and both share the one group.",
        ),
        variants=(
            Variant("Async", "/ws/lab/group/", "group_async.py"),
            Variant("Sync", "/ws/lab/group/sync/", "group_sync.py"),
        ),
    ),
    Example(
        slug="room",
        title="Room",
        teaches=(
            "The name of the room comes from the URL, and so does its group: two rooms never hear each other.",
            "Every message is saved with its author, and a newcomer is shown the last fifty.",
            "Two pages may be on two gateways; the channel layer joins them into one room.",
        ),
        variants=(Variant("Room", "/ws/lab/room/", "room.py"),),
        more=("models.py",),
    ),
    Example(
        slug="who-am-i",
        title="Who am I",
        teaches=(
            "AuthMiddlewareStack reads the session cookie of the handshake and puts the user into the scope.",
            "Anonymous visitors may connect and read what others write here.",
            "To write one must sign in: the consumer says so in an error frame.",
        ),
        variants=(Variant("Who am I", "/ws/lab/whoami/", "whoami.py"),),
    ),
    Example(
        slug="generic-consumers",
        title="Generic consumers",
        teaches=(
            "Four base classes save the boilerplate: sync or async, frames or JSON.",
            "The WebSocket ones give you text_data or bytes_data; the JSON ones decode and encode for you.",
            "Send text and binary to each and compare what comes back.",
        ),
        variants=(
            Variant("WebsocketConsumer", "/ws/lab/wsc/", "websocket_consumer.py"),
            Variant("AsyncWebsocketConsumer", "/ws/lab/awsc/", "async_websocket_consumer.py"),
            Variant("JsonWebsocketConsumer", "/ws/lab/jwc/", "json_websocket_consumer.py"),
            Variant("AsyncJsonWebsocketConsumer", "/ws/lab/ajwc/", "async_json_websocket_consumer.py"),
        ),
    ),
    Example(
        slug="subprotocol",
        title="Subprotocol",
        teaches=(
            "A client offers subprotocols in the handshake, and accept(subprotocol=…) picks one of them.",
            "A consumer may refuse with a code of its own: 4123 after accepting, or HTTP 403 before.",
            "The whole scope is shown as the consumer sees it: path, headers, user, with secrets blanked.",
        ),
        variants=(Variant("Subprotocol", "/ws/lab/subprotocol/", "subprotocol.py"),),
        more=("blanking.py",),
    ),
    Example(
        slug="direct",
        title="Direct",
        teaches=(
            "Every consumer has a channel_name of its own, and channel_layer.send reaches exactly that one.",
            "MessageTooLarge and ChannelFull are what a sender may have to catch.",
            "A member that died without group_discard stays in its group, unless the layer lets it go, as ours does.",
        ),
        variants=(Variant("Direct", "/ws/lab/direct/", "direct.py"),),
        more=("faults.py",),
    ),
    Example(
        slug="worker",
        title="Worker",
        teaches=(
            "Slow work belongs in another process: the consumer sends a task to the layer channel lab-tasks.",
            "A notifier claims it, does the steps, and reports each to the page that asked.",
            "And the other way: http-api asks this consumer a question over the layer and waits for the answer.",
        ),
        variants=(Variant("Worker", "/ws/lab/worker/", "worker.py"),),
        first_message="start",
    ),
)
"""Every lesson, in the order in which they build on each other."""
