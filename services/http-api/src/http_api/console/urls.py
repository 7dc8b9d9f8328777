"""URLs of the console."""

from __future__ import annotations

from django.urls import path

from http_api.console import views

urlpatterns = [path("", views.console, name="console")]
