"""Reading a request's body: bounded, then strict JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from django.http import HttpRequest
from django.http.request import UnreadablePostError
from rest_framework.parsers import BaseParser

from clarion.errors import JsonMalformed
from clarion.values import JSON, json_parse
from http_api.errors import BodyTooLarge, LengthRequired


class StrictJSONParser(BaseParser):
    """Parse ``application/json`` so that what is no JSON, and what cannot travel as JSON, are told apart."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> JSON:
        """Parse the body.

        Raises:
            JsonMalformed: HTTP 400.
            DataInvalid: HTTP 400; JSON by its syntax, but with NaN, a lone surrogate or absurd nesting.
        """
        try:
            return json_parse(stream.read())
        except UnreadablePostError as exc:
            raise JsonMalformed("the body broke off") from exc


def body_check(request: HttpRequest, max_bytes: int) -> None:
    """Refuse a body by what its headers say, before a byte of it is read.

    Raises:
        BodyTooLarge: HTTP 413; over ``max_bytes``.
        LengthRequired: HTTP 411; a chunked body, which WSGI would show as an empty one. nginx never sends one.
    """
    length = request.META.get("CONTENT_LENGTH") or ""
    if length.isdecimal() and int(length) > max_bytes:
        raise BodyTooLarge(f"the body has {int(length):,} bytes; {max_bytes:,} are allowed")
    if not length and "HTTP_TRANSFER_ENCODING" in request.META:
        raise LengthRequired
