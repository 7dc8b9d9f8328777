"""A Django project with Channels' generic consumers, which runs on stock daphne and on `clarion.server` alike."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="compared",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        *filter(None, [os.environ.get("COMPARED_INSTALLED")]),
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "django.contrib.sessions",
        "channels",
    ],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.common.CommonMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
    STATIC_URL="/static/",
)
django.setup()

from asgiref.sync import async_to_sync  # noqa: E402
from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.exceptions import StopConsumer  # noqa: E402
from channels.generic.websocket import (  # noqa: E402
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    JsonWebsocketConsumer,
    WebsocketConsumer,
)
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse  # noqa: E402
from django.urls import path, re_path  # noqa: E402

JOURNAL: dict[str, list[Any]] = defaultdict(list)


def name_of(consumer: Any) -> str:
    return str(consumer.scope["query_string"].decode().removeprefix("name="))


def accept_arguments(consumer: Any) -> dict[str, Any]:
    """Take the first subprotocol that the client offers, and add a header of our own."""
    offered = consumer.scope["subprotocols"]
    return {
        "subprotocol": offered[0] if offered else None,
        "headers": [(b"x-consumer", type(consumer).__name__.encode())],
    }


class AsyncSteps:
    """What the asynchronous consumers have in common: they obey a command."""

    groups = ("everybody",)

    async def connect(self: Any) -> None:
        assert self.scope["user"].is_anonymous
        match self.scope["url_route"]["kwargs"].get("how"):
            case "reject":
                await self.close(code=4403, reason="not you")
            case "raise":
                raise RuntimeError("raised in connect")
            case "deny":
                await self.base_send({"type": "websocket.http.response.start", "status": 429, "headers": []})
                await self.base_send({"type": "websocket.http.response.body", "body": b"later"})
            case _:
                await self.accept(**accept_arguments(self))

    async def obey(self: Any, command: str, rest: str) -> None:
        match command:
            case "close":
                code, _, reason = rest.partition(" ")
                await self.close(code=int(code), reason=reason)
            case "close-plain":
                await self.close()
            case "group":
                await self.channel_layer.group_send("everybody", {"type": "group.said", "text": rest})
            case "empty":
                await self.send(text_data="")
            case "last":
                await AsyncWebsocketConsumer.send(self, text_data=rest, close=4010)
            case "stop":
                raise StopConsumer
            case "raise":
                raise RuntimeError("raised in receive")

    async def disconnect(self: Any, code: int) -> None:
        JOURNAL[name_of(self)].append(code)


class SyncSteps:
    """The same for the synchronous ones."""

    groups = ("everybody",)

    def connect(self: Any) -> None:
        assert self.scope["user"].is_anonymous
        match self.scope["url_route"]["kwargs"].get("how"):
            case "reject":
                self.close(code=4403, reason="not you")
            case "raise":
                raise RuntimeError("raised in connect")
            case "deny":
                self.base_send({"type": "websocket.http.response.start", "status": 429, "headers": []})
                self.base_send({"type": "websocket.http.response.body", "body": b"later"})
            case _:
                self.accept(**accept_arguments(self))

    def obey(self: Any, command: str, rest: str) -> None:
        match command:
            case "close":
                code, _, reason = rest.partition(" ")
                self.close(code=int(code), reason=reason)
            case "close-plain":
                self.close()
            case "group":
                async_to_sync(self.channel_layer.group_send)("everybody", {"type": "group.said", "text": rest})
            case "empty":
                self.send(text_data="")
            case "last":
                WebsocketConsumer.send(self, text_data=rest, close=4010)
            case "stop":
                raise StopConsumer
            case "raise":
                raise RuntimeError("raised in receive")

    def disconnect(self: Any, code: int) -> None:
        JOURNAL[name_of(self)].append(code)


class Plain(SyncSteps, WebsocketConsumer):
    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data is not None and text_data.startswith("/"):
            self.obey(*text_data[1:].split(" ", 1), *[""] * (" " not in text_data))
        else:
            self.send(text_data=text_data, bytes_data=bytes_data)

    def group_said(self, event: dict[str, Any]) -> None:
        self.send(text_data=event["text"])


class AsyncPlain(AsyncSteps, AsyncWebsocketConsumer):
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data is not None and text_data.startswith("/"):
            await self.obey(*text_data[1:].split(" ", 1), *[""] * (" " not in text_data))
        else:
            await self.send(text_data=text_data, bytes_data=bytes_data)

    async def group_said(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])


class Json(SyncSteps, JsonWebsocketConsumer):
    def receive_json(self, content: Any, **_: Any) -> None:
        if isinstance(content, str) and content.startswith("/"):
            self.obey(*content[1:].split(" ", 1), *[""] * (" " not in content))
        else:
            self.send_json(content)

    def group_said(self, event: dict[str, Any]) -> None:
        self.send_json(event["text"])


class AsyncJson(AsyncSteps, AsyncJsonWebsocketConsumer):
    async def receive_json(self, content: Any, **_: Any) -> None:
        if isinstance(content, str) and content.startswith("/"):
            await self.obey(*content[1:].split(" ", 1), *[""] * (" " not in content))
        else:
            await self.send_json(content)

    async def group_said(self, event: dict[str, Any]) -> None:
        await self.send_json(event["text"])


def hello(request: HttpRequest) -> HttpResponse:
    seen = {"method": request.method, "query": request.GET.dict(), "path": request.path, "cookies": request.COOKIES}
    return JsonResponse(seen | {"x": request.headers.get("X-Given"), "port": request.META["SERVER_PORT"] != ""})


async def body(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{len(request.body)} {request.content_type}", content_type="text/plain")


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    async def chunks() -> AsyncIterator[bytes]:
        for number in range(20):
            yield b"%d;" % number + b"x" * 5000

    return StreamingHttpResponse(chunks(), content_type="text/event-stream")


def sync_stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter([b"a" * 100_000, b"", b"b"]))


def fail(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("raised by a view")


def cookies(request: HttpRequest) -> HttpResponse:
    response = HttpResponse(status=204)
    response.set_cookie("a", "1")
    response.set_cookie("b", "2", httponly=True)
    return response


def journal(request: HttpRequest, name: str) -> HttpResponse:
    return HttpResponse(json.dumps(JOURNAL[name]))


urlpatterns = [
    path("hello", hello),
    path("gr%C3%B6%C3%9Fe", hello),
    path("größe", hello),
    path("body", body),
    path("stream", stream),
    path("sync-stream", sync_stream),
    path("raise", fail),
    path("cookies", cookies),
    path("journal/<name>", journal),
]

CONSUMERS = {"plain": Plain, "async-plain": AsyncPlain, "json": Json, "async-json": AsyncJson}

application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": AuthMiddlewareStack(
            URLRouter(
                [
                    re_path(rf"^ws/{kind}/(?P<how>\w*)$", consumer.as_asgi())  # type: ignore[attr-defined]
                    for kind, consumer in CONSUMERS.items()
                ]
            )
        ),
    }
)
