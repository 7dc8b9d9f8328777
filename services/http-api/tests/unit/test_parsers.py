"""http_api.rest.parsers: a body is bounded before it is read."""

from __future__ import annotations

import pytest
from django.test import RequestFactory

from http_api.errors import BodyTooLarge, LengthRequired
from http_api.rest.parsers import body_check


def test_body_check_asks_the_headers_alone() -> None:
    """Over the bound by its Content-Length: refused; at the bound or without a body: passed."""
    post = RequestFactory().post
    body_check(post("/", b"", "application/json", CONTENT_LENGTH="100"), 100)
    body_check(post("/", b"", "application/json", CONTENT_LENGTH=""), 100)
    with pytest.raises(BodyTooLarge):
        body_check(post("/", b"", "application/json", CONTENT_LENGTH="101"), 100)
    with pytest.raises(LengthRequired):
        body_check(post("/", b"", "application/json", CONTENT_LENGTH="", HTTP_TRANSFER_ENCODING="chunked"), 100)
