"""The base of every API view."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.views import APIView

from http_api.env import env
from http_api.rest.parsers import body_check


class ApiView(APIView):
    """An endpoint under ``/api/``. It checks who calls, then the body's size, and only then runs.

    A subclass names ``authentication_classes`` and ``permission_classes``; by default nobody may call it.

    Attributes:
        body_max_bytes: most bytes of a request's body: 413 beyond.
    """

    body_max_bytes = env.http_body_max_bytes

    # Not OPTIONS: browsers of other origins are not meant to call, and DRF would describe the view to anyone.
    http_method_names = ["get", "head", "post", "put", "patch", "delete"]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Authenticate, authorise, and refuse a body that is too large before a byte of it is read."""
        super().initial(request, *args, **kwargs)
        body_check(request._request, self.body_max_bytes)
