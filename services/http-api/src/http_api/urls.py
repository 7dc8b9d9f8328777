"""Every URL of the service. The look of its pages belongs to ``http_api.console``, error pages to ``clarion.pages``."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from http_api.env import env

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/", include("http_api.publishing.api.urls")),
    path("api/v1/", include("http_api.tokens.api.urls")),
    path("api/v1/", include("http_api.notifications.api.urls")),
    path("api/v1/", include("http_api.accounts.api.urls")),
    path("api/", include("http_api.server_api.api.urls")),
    path("admin/", admin.site.urls),
    path("", include("http_api.accounts.urls")),
    path("", include("http_api.console.urls")),
]

if env.lab_enabled:
    urlpatterns += [path("api/v1/", include("http_api.lab.api.urls"))]

handler400 = "clarion.pages.problems.bad_request"
handler403 = "clarion.pages.problems.permission_denied"
handler404 = "clarion.pages.problems.not_found"
handler500 = "clarion.pages.problems.server_error"
