"""URLs of notifications."""

from __future__ import annotations

from django.urls import path

from http_api.notifications.api.views import NotificationsView

urlpatterns = [path("notifications", NotificationsView.as_view(), name="notifications")]
