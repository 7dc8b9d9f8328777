"""``POST /drain`` on the internal port: send all clients away and end, or a share of them and serve on.

Source: docs/how-to/drain-a-gateway.md.
"""

from __future__ import annotations

import concurrent.futures
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from clarion.internal import LOOP_ANSWER_S, Request, Response, problem
from clarion.server import DrainUnderWay, Server


class QueryInvalid(ValueError):
    """The query is not ``share=<number>``, once or not at all."""


class DrainRequests:
    """Asks a server, from the internal port's threads, to let clients go."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def answer(self, request: Request) -> Response:
        """Begin, and say how many clients it concerns; 202 is no promise that they are gone."""
        try:
            share = share_of(request.query)
        except QueryInvalid as exc:
            return problem(HTTPStatus.BAD_REQUEST, "share_invalid", str(exc))
        try:
            begun = self._on_loop(self._leave if share is None else lambda: self._shed(share))
        except DrainUnderWay:
            return problem(HTTPStatus.CONFLICT, "drain_under_way", "clients are being sent away already")
        except TimeoutError:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, "loop_stalled", "the event loop does not answer")
        return Response(HTTPStatus.ACCEPTED, json.dumps(begun).encode())

    def _leave(self) -> dict[str, Any]:
        connections = len(self._server.shared.sockets)
        self._server.leave()
        return {"connections": connections, "ends": True}

    def _shed(self, share: float) -> dict[str, Any]:
        return {"connections": self._server.shed(share), "ends": False}

    def _on_loop(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        done: concurrent.futures.Future[dict[str, Any]] = concurrent.futures.Future()

        def run() -> None:
            if done.set_running_or_notify_cancel():
                try:
                    done.set_result(work())
                except Exception as exc:  # noqa: BLE001 - whoever waits in the thread is told
                    done.set_exception(exc)

        self._server.shared.loop.call_soon_threadsafe(run)
        try:
            return done.result(LOOP_ANSWER_S)
        except TimeoutError:
            if done.cancel():  # it will not happen behind the caller's back
                raise
            return done.result()


def share_of(query: Mapping[str, list[str]]) -> float | None:
    """The share that is asked for; None: all, and the end.

    Raises:
        QueryInvalid: whatever else it holds: a misspelt share must not end the process.
    """
    if not query:
        return None
    values = query.get("share", [])
    if len(query) != 1 or len(values) != 1:
        raise QueryInvalid("the query is share=<number>, once, or nothing")
    try:
        share = float(values[0])
    except ValueError:
        raise QueryInvalid("share is no number") from None
    if not 0 < share <= 1:
        raise QueryInvalid("share is over 0 and at most 1")
    return share
