"""Counts each request when it is answered. Probes are answered before, and not counted."""

from __future__ import annotations

import time
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from clarion.pages.middleware import GetResponse
from http_api.metrics.counts import request_count

STATIC: Final = "static"
UNMATCHED: Final = "unmatched"


class MetricsMiddleware:
    """Count every answer, whoever made it: what is inside turns every exception into one."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on, and count it."""
        began_s = time.perf_counter()
        response = self._get_response(request)
        duration_s = time.perf_counter() - began_s
        request_count(request.method or "", _route(request), response.status_code, duration_s)
        return response


def _route(request: HttpRequest) -> str:
    """The name of the URL's pattern, with its namespace; never anything of the path itself."""
    if request.resolver_match is not None:
        return request.resolver_match.view_name
    return STATIC if request.path_info.startswith(settings.STATIC_URL) else UNMATCHED
