"""``GET /api/v1/me``."""

from __future__ import annotations

from django.middleware.csrf import get_token
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from http_api.accounts.api.authentication import SessionCookieAuthentication
from http_api.accounts.selectors import user_document
from http_api.rest.views import ApiView


class MeView(ApiView):
    """Who is signed in. Anyone may ask; the answer sets the CSRF cookie that a program needs to sign in."""

    authentication_classes = [SessionCookieAuthentication]
    permission_classes = [AllowAny]

    def get(self, request: Request) -> Response:
        """200 with ``{"user": {"id", "username", "is_staff"}}``, or ``{"user": null}``."""
        get_token(request._request)
        return Response({"user": user_document(request.user)})
