"""``/health/live`` and ``/health/ready``.

Answered before ALLOWED_HOSTS, sessions or anything that could be at fault itself: a probe calls by address.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse

from clarion.pages.middleware import GetResponse
from http_api.health.checks import OK, is_ready, readiness


class HealthMiddleware:
    """Answer probes, pass everything else on."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Liveness is that we answer; readiness is that what we cannot do without answers us: 200, or 503.

        Readiness tells what each check found, Redis' included, whose loss makes no 503.
        """
        if request.path_info not in {"/health/live", "/health/ready"}:
            return self._get_response(request)
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        return _answer({} if request.path_info == "/health/live" else readiness())


def _answer(answers: dict[str, str]) -> HttpResponse:
    is_ok = is_ready(answers)
    document: dict[str, object] = {"status": OK if is_ok else "unavailable"}
    if answers:
        document["checks"] = answers
    response = JsonResponse(document, status=200 if is_ok else 503, headers={"Cache-Control": "no-store"})
    # For django.utils.log.log_response, which would log every probe's 503; "readiness.changed" says it once.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response
