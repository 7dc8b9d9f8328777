"""URLs of publishing."""

from __future__ import annotations

from django.urls import re_path

from http_api.publishing.api.views import PublicationsView

urlpatterns = [
    # Whatever stands in the channel's place, a decoded slash or newline too: a bad name is 400, not 404.
    re_path(r"^channels/(?P<channel>[\s\S]*)/publications\Z", PublicationsView.as_view(), name="publications"),
]
