"""Reading a request's body: bounded, then strict JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

import msgspec
from django.http import HttpRequest
from django.http.request import UnreadablePostError
from rest_framework.parsers import BaseParser

from clarion.errors import DataInvalid, JsonMalformed
from clarion.values import JSON
from http_api.env import env
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


def body_check(request: HttpRequest) -> None:
    """Refuse a body by what its headers say, before a byte of it is read.

    Raises:
        BodyTooLarge: HTTP 413; over ``http_body_max_bytes``.
        LengthRequired: HTTP 411; a chunked body, which WSGI would show as an empty one. nginx never sends one.
    """
    length = request.META.get("CONTENT_LENGTH") or ""
    if length.isdecimal() and int(length) > env.http_body_max_bytes:
        raise BodyTooLarge(f"the body has {int(length):,} bytes; {env.http_body_max_bytes:,} are allowed")
    if not length and "HTTP_TRANSFER_ENCODING" in request.META:
        raise LengthRequired


def json_parse(raw: bytes) -> JSON:
    """Parse one JSON text; numbers and texts in it are checked where the value is used.

    Raises:
        JsonMalformed: HTTP 400.
        DataInvalid: HTTP 400.
    """
    try:
        return msgspec.json.decode(raw)
    except RecursionError as exc:
        raise DataInvalid("the JSON is nested too deeply") from exc
    except (msgspec.MsgspecError, UnicodeError) as exc:
        raise _refusal(raw, exc) from exc


def _refusal(raw: bytes, cause: Exception) -> DataInvalid:
    """Python's own parser lets NaN, 1e999 and lone surrogates pass: what it takes has the form of JSON."""
    try:
        json.loads(raw.decode())
    except RecursionError:
        return DataInvalid("the JSON is nested too deeply")
    except ValueError:
        return JsonMalformed(f"the body is not JSON: {cause}")
    return DataInvalid("the body holds NaN, Infinity, a number out of range or a lone surrogate")
