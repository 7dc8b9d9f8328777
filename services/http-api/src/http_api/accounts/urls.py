"""URLs of sign-in and sign-out."""

from __future__ import annotations

from django.urls import path

from http_api.accounts.views import SignInView, SignOutView

urlpatterns = [
    path("sign-in", SignInView.as_view(), name="sign-in"),
    path("sign-out", SignOutView.as_view(), name="sign-out"),
]
