"""Bodies of notifying."""

from __future__ import annotations

from rest_framework import serializers

from clarion.inbox.models import BODY_MAX_CHARS, TITLE_MAX_CHARS
from clarion.inbox.services import USERS_MAX
from http_api.rest.fields import AnyJSONField, StrictSerializer, TextField, UserIdField


class NotificationInput(StrictSerializer):
    """``{"users": [ids], "title", "body", "data"?}``."""

    users = serializers.ListField(child=UserIdField(), min_length=1, max_length=USERS_MAX)
    title = TextField(max_length=TITLE_MAX_CHARS)
    body = TextField(max_length=BODY_MAX_CHARS, allow_blank=True, trim_whitespace=False)
    data = AnyJSONField(default=None)  # type: ignore[assignment]  # a field named as DRF's own property is meant

    def validate_users(self, users: list[str]) -> list[str]:
        """Refuse a user who is named twice: more likely a mistake than a wish."""
        if len(set(users)) < len(users):
            raise serializers.ValidationError("A user is named twice.", code="not_unique")
        return users
