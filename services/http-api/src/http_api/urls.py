"""Every URL of the service. Console and sign-in look belong to ``http_api.console``."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("api/v1/", include("http_api.publishing.api.urls")),
    path("api/v1/", include("http_api.tokens.api.urls")),
    path("api/v1/", include("http_api.notifications.api.urls")),
    path("api/v1/", include("http_api.accounts.api.urls")),
    path("admin/", admin.site.urls),
    path("", include("http_api.accounts.urls")),
    path("", include("http_api.console.urls")),
]

handler400 = "http_api.rest.problems.bad_request"
handler403 = "http_api.rest.problems.permission_denied"
handler404 = "http_api.rest.problems.not_found"
handler500 = "http_api.rest.problems.server_error"
