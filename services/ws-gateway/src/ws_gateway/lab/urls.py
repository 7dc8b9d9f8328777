"""URLs of the lab."""

from __future__ import annotations

from django.urls import path

from ws_gateway.lab import views

urlpatterns = [
    path("", views.lab, name="lab"),
    path("docs/<path:name>", views.guide_page, name="lab-guide"),
]
