"""Permissions by the scopes of an API key."""

from __future__ import annotations

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from http_api.errors import CredentialsMissing, ScopeMissing
from http_api.keys.scopes import Scope
from http_api.keys.selectors import KeyCaller


def scope_needed(*scopes: Scope) -> type[BasePermission]:
    """A permission class: the caller shows an API key that has one of these scopes, or ``admin``."""

    class HasScope(BasePermission):
        def has_permission(self, request: Request, view: APIView) -> bool:
            if not isinstance(request.auth, KeyCaller):
                raise CredentialsMissing
            scope_check(request.auth, *scopes)
            return True

    return HasScope


def scope_check(caller: KeyCaller, *scopes: Scope) -> None:
    """Pass if the key has one of these scopes, or ``admin``.

    Raises:
        ScopeMissing: HTTP 403.
    """
    if not caller.may(*scopes):
        raise ScopeMissing(f"this API key needs the scope {' or '.join(scopes)}")
