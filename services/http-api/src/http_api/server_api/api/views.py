"""``POST /api/<method>``.

A refusal at the door (key, scope, size, a body that is not the method's) is an HTTP status and a problem document, as
everywhere. What a method itself refuses is ``{"error": {"code", "message"}}`` with 200, unless the caller asks for
HTTP statuses.

Source: docs/reference/server-api.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final, cast

import structlog
from django.http import HttpResponse
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from clarion.codes import ErrorCode
from clarion.errors import ClarionError
from clarion.values import json_encode
from http_api.env import env
from http_api.keys.api.authentication import ApiKeyAuthentication
from http_api.keys.api.permissions import scope_needed
from http_api.keys.scopes import Scope
from http_api.keys.selectors import KeyCaller
from http_api.rest.negotiation import AlwaysJSON
from http_api.rest.problems import RETRY_AFTER_S, cause_of
from http_api.rest.views import ApiView
from http_api.server_api.api.batches import batch_read, batch_run
from http_api.server_api.api.methods import METHODS, Method
from http_api.server_api.requests import BatchRequest, request_of
from http_api.server_api.results import error_of

log = structlog.get_logger(__name__)

_PUBLICATION_BODY_BYTES: Final = min(env.http_body_max_bytes, 9 * env.clarion_config.limits.publication_bytes + 1024)
"""As of REST's publishing. A broadcast and a batch hold more, up to any body's limit."""

_TRANSPORT_STATUSES: Final = {
    ErrorCode.UNKNOWN_CHANNEL: HTTPStatus.NOT_FOUND,
    ErrorCode.BAD_REQUEST: HTTPStatus.BAD_REQUEST,
    ErrorCode.NOT_AVAILABLE: HTTPStatus.BAD_REQUEST,
    ErrorCode.UNRECOVERABLE_POSITION: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
}
"""Centrifugo's statuses, where they are not those of our error."""


class JSONWhatever(AlwaysJSON):
    """Read a body as JSON whatever it is called: curl's ``--data`` calls it a form, and so do Centrifugo's examples."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser:
        """The JSON parser."""
        return next(iter(parsers))


class ServerApiView(ApiView):
    """One method of the server API.

    Attributes:
        api_method: which.
    """

    authentication_classes = [ApiKeyAuthentication]
    content_negotiation_class = JSONWhatever
    body_max_bytes = _PUBLICATION_BODY_BYTES
    api_method: Method = METHODS["info"]  # as_view() gives each its own

    def get_permissions(self) -> list[BasePermission]:
        """The method's scope."""
        return [scope_needed(self.api_method.scope)()]

    def post(self, request: Request) -> HttpResponse:
        """Answer ``{"result": {…}}`` or ``{"error": {"code", "message"}}``."""
        command = request_of(self.api_method.request, request.data)
        try:
            result = self.api_method.answer(command)
        except ClarionError as exc:
            return _error_response(request, self.api_method.name, exc)
        return _json_response({"result": result})


class BatchView(ApiView):
    """Several commands in one request; each needs the scope of its own method."""

    authentication_classes = [ApiKeyAuthentication]
    permission_classes = [scope_needed(*Scope)]
    content_negotiation_class = JSONWhatever

    def post(self, request: Request) -> HttpResponse:
        """Answer ``{"replies": [{"<method>": {…}} or {"error": {…}}, …]}``, 200 whatever they are."""
        commands = batch_read(request_of(BatchRequest, request.data))
        return _json_response({"replies": batch_run(commands, cast("KeyCaller", request.auth))})


def _error_response(request: Request, method: str, exc: ClarionError) -> HttpResponse:
    error = error_of(exc)
    if exc.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("server_api.failed", method=method, code=exc.code, cause=cause_of(exc))
    if request.headers.get("X-Centrifugo-Error-Mode", "").lower() != "transport":
        return _json_response({"error": error})
    response = _json_response(error, _TRANSPORT_STATUSES.get(exc.protocol_code, exc.http_status))
    if exc.temporary:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _json_response(document: Any, status: int = HTTPStatus.OK) -> HttpResponse:
    return HttpResponse(json_encode(document), status=status, content_type="application/json")
