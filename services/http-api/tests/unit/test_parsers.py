"""http_api.rest.parsers: a body is bounded before it is read."""

from __future__ import annotations

import pytest
from django.test import RequestFactory

from http_api.env import env
from http_api.errors import BodyTooLarge, LengthRequired
from http_api.rest.parsers import body_check


def test_body_check_asks_the_headers_alone() -> None:
    """Over the bound by its Content-Length: refused; at the bound or without a body: passed."""
    post = RequestFactory().post
    body_check(post("/", b"", "application/json", CONTENT_LENGTH=str(env.http_body_max_bytes)))
    body_check(post("/", b"", "application/json", CONTENT_LENGTH=""))
    with pytest.raises(BodyTooLarge):
        body_check(post("/", b"", "application/json", CONTENT_LENGTH=str(env.http_body_max_bytes + 1)))
    with pytest.raises(LengthRequired):
        body_check(post("/", b"", "application/json", CONTENT_LENGTH="", HTTP_TRANSFER_ENCODING="chunked"))
