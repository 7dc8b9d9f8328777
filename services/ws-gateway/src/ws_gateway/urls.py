"""Every URL that Django answers in the gateway; health stands outside it (``ws_gateway.health``)."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("lab/", include("ws_gateway.lab.urls"))]

handler400 = "clarion.pages.problems.bad_request"
handler403 = "clarion.pages.problems.permission_denied"
handler404 = "clarion.pages.problems.not_found"
handler500 = "clarion.pages.problems.server_error"
