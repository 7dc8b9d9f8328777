"""Clients of the SDKs' tests."""

from __future__ import annotations

from uuid import uuid4

from tests.support.sdk import SdkClient, Sdks, Variant
from tests.support.sdk_product import token


class Clients:
    """Opens clients of one variant, and disconnects them after the test."""

    def __init__(self, sdks: Sdks, url: str) -> None:
        self._sdks = sdks
        self._url = url
        self._opened: list[SdkClient] = []

    def open(self, variant: Variant, user: str = "", *, url: str = "", **options: object) -> SdkClient:
        """A client that is not connected; without other options its token is good."""
        if not options.keys() & {"token", "tokens"}:
            options["token"] = token(user or uuid4().hex)
        client = self._sdks.client(variant, url or self._url, **options)
        self._opened.append(client)
        return client

    def connect(self, variant: Variant, user: str = "", *, url: str = "", **options: object) -> SdkClient:
        """A connected client."""
        client = self.open(variant, user, url=url, **options)
        client.connect()
        return client

    def disconnect(self) -> None:
        """Disconnect them all."""
        for client in self._opened:
            client.call("disconnect")
