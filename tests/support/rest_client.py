"""Calls of the product's REST service, for whoever stands for a running product."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx

TIMEOUT_S = 20


def publications_path(channel: str) -> str:
    """Where publications of a channel are posted to."""
    return f"/api/v1/channels/{quote(channel, safe='')}/publications"


class RestClient:
    """A running product as REST sees it; a subclass says where it is and which key it has.

    Attributes:
        url: the origin of nginx.
    """

    url: str

    @property
    def key(self) -> str:
        """An API key that may do everything."""
        raise NotImplementedError

    def client(self, *, key: bool = True) -> httpx.Client:
        """An HTTP client through nginx, with the API key or without; close it after use."""
        return httpx.Client(base_url=self.url, headers=self._headers(key), timeout=TIMEOUT_S, trust_env=False)

    def async_client(self) -> httpx.AsyncClient:
        """The same for tasks, with the API key."""
        return httpx.AsyncClient(base_url=self.url, headers=self._headers(), timeout=TIMEOUT_S, trust_env=False)

    def token(self, user: str) -> str:
        """A connection token for any user id."""
        with self.client() as client:
            answer = client.post("/api/v1/tokens", json={"user": user})
        assert answer.status_code == httpx.codes.CREATED, answer.text
        token: str = answer.json()["token"]
        return token

    def publish(self, channel: str, data: Any) -> str:
        """Publish, and return the publication's id."""
        with self.client() as client:
            answer = client.post(publications_path(channel), json={"data": data})
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        publication: str = answer.json()["id"]
        return publication

    def offer(self, channel: str, data: Any) -> bool:
        """Publish while parts of the product may be away; says whether it was accepted."""
        with self.client() as client:
            try:
                answer = client.post(publications_path(channel), json={"data": data})
            except httpx.TransportError:
                return False
        assert answer.status_code in (202, 502, 503, 504), answer.text
        return answer.status_code == httpx.codes.ACCEPTED

    def _headers(self, key: bool = True) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if key else {}
