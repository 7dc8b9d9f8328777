"""``/emulation``: commands of clients whose way down is an HTTP response, handed to the node that holds it.

``{"session", "node", "data"}``: the first two as the connect's reply gave them, ``data`` the commands as text (or one
command as an object). 204: the node has them, in whatever state the session is. 404: there is no such node.

Source: docs/protocol.md, "Endpoints".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from msgspec import Raw, Struct

from clarion.errors import ChannelLayerUnavailable
from ws_gateway.endpoints.bodies import BodyTooLarge, ClientGone, body_of
from ws_gateway.endpoints.origins import Origin, cors_headers, origin_of, preflight_headers
from ws_gateway.problems import answer_problem

if TYPE_CHECKING:
    from ws_gateway.gateway import Gateway

Scope: TypeAlias = dict[str, Any]


class EmulationRequest(Struct):
    """The body of a request."""

    session: str
    node: str
    data: Raw


class EmulationEndpoint:
    """The ASGI application; any gateway takes any session's commands."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        origin = origin_of(scope, self._gateway.origins)
        if origin is Origin.FOREIGN:
            await answer_problem(scope, send, 403, "this Origin is not allowed")
        elif scope["method"] == "OPTIONS":
            await _no_content(send, preflight_headers(scope, origin))
        elif scope["method"] != "POST":
            await answer_problem(scope, send, 405, "use POST", [(b"allow", b"POST")])
        else:
            await self._take(scope, receive, send, cors_headers(scope, origin))

    async def _take(self, scope: Scope, receive: Any, send: Any, headers: list[tuple[bytes, bytes]]) -> None:
        try:
            request = msgspec.json.decode(
                await body_of(receive, self._gateway.config.limits.connection_frame_bytes), type=EmulationRequest
            )
            data = _commands(bytes(request.data))
            found = await self._gateway.control.emulate(request.node, request.session, data)
        except ClientGone:
            return
        except BodyTooLarge as exc:
            await answer_problem(scope, send, 413, str(exc), headers)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            await answer_problem(scope, send, 400, "not an emulation request", headers)
        except ChannelLayerUnavailable as exc:
            await answer_problem(scope, send, 503, exc.detail, [*headers, (b"retry-after", b"1")])
        else:
            if found:
                await _no_content(send, headers)
            else:
                await answer_problem(scope, send, 404, "there is no such node", headers)


def _commands(data: bytes) -> bytes:
    """SDKs send the commands as a JSON string; one command may also stand there as it is."""
    return msgspec.json.decode(data, type=str).encode() if data.lstrip().startswith(b'"') else data


async def _no_content(send: Any, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body"})
