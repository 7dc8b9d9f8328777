"""URLs of the server API."""

from __future__ import annotations

from django.urls import path

from http_api.env import env
from http_api.server_api.api.methods import METHODS
from http_api.server_api.api.views import BatchView, ServerApiView

_options = {"broadcast": {"body_max_bytes": env.http_body_max_bytes}}

urlpatterns = [
    *(
        path(name, ServerApiView.as_view(api_method=method, **_options.get(name, {})), name=f"server-api-{name}")
        for name, method in METHODS.items()
    ),
    path("batch", BatchView.as_view(), name="server-api-batch"),
]
