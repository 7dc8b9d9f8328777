"""Signing in and out."""

from __future__ import annotations

from django.contrib.auth import authenticate, login, logout
from django.contrib.auth.models import User
from django.http import HttpRequest

from http_api.errors import SignInFailed


def sign_in(request: HttpRequest, username: str, password: str) -> User:
    """Start a session for who knows the password; the session's id and the CSRF token are new.

    Raises:
        SignInFailed: HTTP 401; unknown name, wrong password or inactive user, and not said which.
    """
    user = authenticate(request, username=username, password=password)
    if not isinstance(user, User):
        raise SignInFailed
    login(request, user)
    request.session.cycle_key()  # login() keeps the id when the same user signs in again
    return user


def sign_out(request: HttpRequest) -> None:
    """End the session and delete what it held."""
    logout(request)
