"""URLs of whoever is signed in."""

from __future__ import annotations

from django.urls import path

from http_api.accounts.api.views import MeView

urlpatterns = [path("me", MeView.as_view(), name="me")]
