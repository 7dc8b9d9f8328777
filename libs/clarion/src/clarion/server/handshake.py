"""The opening handshake without I/O: the request's head in, a response and an ASGI scope out.

Source: RFC 6455, section 4; the ASGI specification, "WebSocket"; daphne's rules for a scope.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from websockets.datastructures import Headers
from websockets.exceptions import HeaderLineTooLong, InvalidHeaderValue, RequestLineTooLong, TooManyHeaders
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

from clarion.server.ordinary import Opening, ordinary

MAX_HEAD_BYTES = 16384  # as Twisted's HTTPChannel, which answers 400 beyond
HEAD_END = b"\r\n\r\n"

# websockets logs each opening and closing at INFO (23 us and two lines a connection) and payloads at DEBUG (trap 23).
quiet = logging.getLogger("clarion.server.websockets")
quiet.setLevel(logging.WARNING)

_UPGRADE = re.compile(rb"\r\nupgrade:[ \t]*([^\r\n]*?)[ \t]*\r\n", re.IGNORECASE)
# What the server itself says in a 101, or what would change where it ends.
_OWN_HEADERS = frozenset(
    ("connection", "upgrade", "content-length", "transfer-encoding", "sec-websocket-accept", "sec-websocket-extensions")
)


class Refused(Exception):
    """The request is no acceptable opening handshake; ``response`` says why."""

    def __init__(self, response: Response) -> None:
        self.response = response
        super().__init__(response.status_code)


def is_websocket(head: bytes) -> bool:
    """Tell whether daphne would take this request for an upgrade: its first Upgrade value is "websocket".

    Exactly its rule (trap 30): what this door takes for HTTP and daphne's for an upgrade comes back here.
    """
    found = _UPGRADE.search(head)
    return found is not None and found[1].lower() == b"websocket"


def head_bytes(method: bytes, uri: bytes, version: bytes, headers: Iterable[tuple[bytes, list[bytes]]]) -> bytes:
    """Write a parsed request as a head again. Each value keeps a line of its own: two Cookie headers stay two."""
    lines = [method + b" " + uri + b" " + version]
    lines += [name + b": " + value for name, values in headers for value in values]
    return b"\r\n".join(lines) + HEAD_END


class Negotiator:
    """Judges opening handshakes; one for all connections, since it holds no state between them.

    It parses a complete head, apart from the connection's own ``ServerProtocol``: that one would keep the whole
    request for life in a suspended generator (traps 11, 12) and parse frames before the application's answer (trap 14).
    """

    def __init__(self, server_name: str) -> None:
        self._server_name = server_name

    def judge(self, head: bytes) -> tuple[Opening, Response]:
        """Return the request and the 101 for it.

        Raises:
            Refused: with 400, 405, 414, 426, 431 or 505.
        """
        opening, response = ordinary(head) or self._judge(head)
        if self._server_name:
            response.headers["Server"] = self._server_name
        return opening, response

    def _judge(self, head: bytes) -> tuple[Opening, Response]:
        # A refusal before the application is asked, or a bad key would cost it a session query (trap 22).
        protocol = ServerProtocol(logger=quiet)
        request = _parse(protocol, head)
        response = protocol.accept(request)
        protocol.parser.close()  # a reference cycle until then (trap 13)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            if request.headers.get_all("Sec-WebSocket-Version") != ["13"]:
                response.headers["Sec-WebSocket-Version"] = "13"  # RFC 6455, section 4.4
            protocol.handshake_exc = request._exception = None  # tracebacks: reference cycles
            raise Refused(response)
        return Opening(request.path, list(request.headers.raw_items())), response


def _parse(protocol: ServerProtocol, head: bytes) -> Request:
    reader = StreamReader()
    reader.feed_data(head)
    reader.feed_eof()
    try:
        next(Request.parse(reader.read_line))
    except StopIteration as done:
        request: Request = done.value
        return request
    except RequestLineTooLong as exc:
        raise Refused(protocol.reject(HTTPStatus.REQUEST_URI_TOO_LONG, f"{exc}\n")) from exc
    except (HeaderLineTooLong, TooManyHeaders) as exc:
        raise Refused(protocol.reject(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"{exc}\n")) from exc
    except (ValueError, EOFError, NotImplementedError) as exc:
        # A body, a Transfer-Encoding or a malformed line: websockets would just hang up (trap 22).
        raise Refused(protocol.reject(HTTPStatus.BAD_REQUEST, "malformed request\n")) from exc
    raise Refused(protocol.reject(HTTPStatus.BAD_REQUEST, "incomplete request\n"))


def refusal(status: HTTPStatus, text: str, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """Return a short plain text answer that ends the connection."""
    response = ServerProtocol.reject(_REJECTER, status, f"{text}\n")
    for name, value in headers:
        response.headers[name] = value
    return response


_REJECTER = ServerProtocol(logger=quiet)


def accepted(
    response: Response, offered: list[str], subprotocol: str | None, headers: Iterable[tuple[bytes, bytes]]
) -> bytes:
    """Complete the 101 with what the application added.

    Raises:
        ValueError: a subprotocol that the client did not offer, or a header that only the server may set.
    """
    if subprotocol is not None:
        if subprotocol not in offered:
            raise ValueError(f"the client did not offer the subprotocol {subprotocol!r}")
        response.headers["Sec-WebSocket-Protocol"] = subprotocol
    add_headers(response.headers, headers)
    return response.serialize()


def add_headers(to: Headers, headers: Iterable[tuple[bytes, bytes]], besides: Collection[str] = ()) -> None:
    """Add an application's headers, without those that only the server may set (but with ``besides``).

    Raises:
        ValueError: a name or a value that would break out of its line, or the subprotocol as a header.
    """
    for name, value in headers:
        text = name.decode("latin-1")
        if text.lower() == "sec-websocket-protocol":
            raise ValueError("give the subprotocol as the message's own key, not as a header")
        if not _TOKEN.fullmatch(text):
            raise ValueError(f"invalid header name {text!r}")
        if text.lower() not in _OWN_HEADERS or text.lower() in besides:
            try:
                to[text] = value.decode("latin-1")
            except InvalidHeaderValue as exc:
                raise ValueError(str(exc)) from exc


_TOKEN = re.compile(r"[-!#$%&'*+.^_`|~0-9a-zA-Z]+")


def scope_of(request: Opening, *, secure: bool, root_path: str) -> dict[str, Any]:
    """Build the scope by daphne's rules, without ``client``, ``server`` and ``extensions``.

    Names with an underscore are dropped (CVE-2015-0219), the path is unquoted. ``Daphne-Root-Path`` is dropped
    too, and not followed as daphne does: whoever can send it could move the application's root.

    Raises:
        ValueError: the path is not ASCII.
    """
    raw_path, _, query = request.path.partition("?")
    headers = [
        (lower.encode("latin-1"), value.encode("latin-1"))
        for name, value in request.headers
        if "_" not in name and (lower := name.lower()) != "daphne-root-path"
    ]
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "wss" if secure else "ws",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode("ascii"),
        "root_path": root_path,
        "query_string": query.encode("ascii"),
        "headers": headers,
        "subprotocols": subprotocols(request.headers),
    }


def subprotocols(headers: Iterable[tuple[str, str]]) -> list[str]:
    """List what the client offers, in its order."""
    return [
        offered
        for name, value in headers
        if name.lower() == "sec-websocket-protocol"
        for part in unquote(value).split(",")
        if (offered := part.strip())
    ]
