"""URLs of tokens."""

from __future__ import annotations

from django.urls import path

from http_api.tokens.api.views import SubscriptionTokensView, TokensView

urlpatterns = [
    path("tokens", TokensView.as_view(), name="tokens"),
    path("tokens/subscription", SubscriptionTokensView.as_view(), name="subscription-tokens"),
]
