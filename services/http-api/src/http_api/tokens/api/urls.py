"""URLs of connection tokens."""

from __future__ import annotations

from django.urls import path

from http_api.tokens.api.views import TokensView

urlpatterns = [path("tokens", TokensView.as_view(), name="tokens")]
