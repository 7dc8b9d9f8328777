"""``POST /api/v1/tokens`` and ``/api/v1/tokens/subscription``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from clarion.errors import PermissionRefused
from http_api.accounts.api.authentication import SessionCookieAuthentication
from http_api.errors import CredentialsMissing
from http_api.keys.api.authentication import ApiKeyAuthentication
from http_api.keys.api.permissions import scope_check, scope_needed
from http_api.keys.scopes import Scope
from http_api.keys.selectors import KeyCaller
from http_api.rest.views import ApiView
from http_api.tokens.api.serializers import OwnTokenInput, SubscriptionTokenInput, TokenInput
from http_api.tokens.services import MintedToken, subscription_token_mint, token_mint


class MayMint(BasePermission):
    """A service whose key has the scope ``control``, or whoever is signed in."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Refuse who is neither: 401 without credentials, 403 without the scope."""
        if isinstance(request.auth, KeyCaller):
            scope_check(request.auth, Scope.CONTROL)
        elif not request.user.is_authenticated:
            raise CredentialsMissing("sign in, or send an API key")
        return True


class TokensView(ApiView):
    """Connection tokens. A key comes before a cookie: a bad key is refused even with a good session."""

    authentication_classes = [ApiKeyAuthentication, SessionCookieAuthentication]
    permission_classes = [MayMint]

    def post(self, request: Request) -> Response:
        """Mint: 201 with ``{"token", "expires_at"}``, the time in ISO 8601, UTC."""
        minted = _mint_any(request) if isinstance(request.auth, KeyCaller) else _mint_own(request)
        return _created(minted)


class SubscriptionTokensView(ApiView):
    """Subscription tokens: for services only, since they decide who may subscribe to what."""

    authentication_classes = [ApiKeyAuthentication]
    permission_classes = [scope_needed(Scope.CONTROL)]

    def post(self, request: Request) -> Response:
        """Mint: 201 with ``{"token", "expires_at"}``, the time in ISO 8601, UTC."""
        body = SubscriptionTokenInput(data=request.data)
        body.is_valid(raise_exception=True)
        wanted = body.validated_data
        return _created(
            subscription_token_mint(wanted["user"], wanted["channel"], ttl_s=wanted["ttl_s"], info=wanted["info"])
        )


def _created(minted: MintedToken) -> Response:
    return Response({"token": minted.token, "expires_at": _iso(minted.expires_at)}, status=201)


def _mint_any(request: Request) -> MintedToken:
    body = TokenInput(data=request.data)
    body.is_valid(raise_exception=True)
    wanted = body.validated_data
    return token_mint(wanted["user"], ttl_s=wanted["ttl_s"], channels=tuple(wanted["channels"]), info=wanted["info"])


def _mint_own(request: Request) -> MintedToken:
    """A signed-in user says only for how long: who they are is not theirs to say, nor what they may join."""
    wanted: Any = request.data
    user_id = str(request.user.pk)
    if isinstance(wanted, dict):
        if wanted.get("user", user_id) != user_id:
            raise PermissionRefused("a signed-in user mints tokens for themselves; for others an API key is needed")
        if not wanted.keys().isdisjoint({"channels", "info"}):
            raise PermissionRefused("channels and info are for an API key to say")
        wanted = {name: value for name, value in wanted.items() if name != "user"}
    body = OwnTokenInput(data=wanted)
    body.is_valid(raise_exception=True)
    return token_mint(user_id, ttl_s=body.validated_data["ttl_s"])


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
