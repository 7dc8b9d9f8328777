"""Bodies of minting tokens."""

from __future__ import annotations

from typing import Any, Final

from rest_framework import serializers

from clarion.errors import DataInvalid, PublicationTooLarge
from clarion.tokens import TTL_S
from clarion.values import JSON, publication_check
from http_api.rest.fields import AnyJSONField, ChannelField, NumberField, StrictSerializer, UserIdField

TTL_MAX_S: Final = 86_400
INFO_MAX_BYTES: Final = 4_096
CHANNELS_MAX: Final = 100


class TokenUserField(UserIdField):
    """A user id, or "" for an anonymous client."""

    def to_internal_value(self, data: Any) -> str:
        """The id."""
        return "" if data == "" else super().to_internal_value(data)


class OwnTokenInput(StrictSerializer):
    """What a signed-in user may ask for: a token for themselves that needs no long trust."""

    ttl_s = NumberField(min_value=1, max_value=TTL_S, default=TTL_S)


class _ServiceInput(StrictSerializer):
    """What a service may say of any token, on behalf of any user."""

    user = TokenUserField()
    ttl_s = NumberField(min_value=1, max_value=TTL_MAX_S, default=TTL_S)
    info = AnyJSONField(default=None)

    def validate_info(self, info: JSON) -> JSON:
        """A token travels in URLs and headers: what it carries is small."""
        try:
            publication_check(info, INFO_MAX_BYTES)
        except (DataInvalid, PublicationTooLarge) as exc:
            raise serializers.ValidationError(exc.detail, code=exc.code) from exc
        return info


class TokenInput(_ServiceInput):
    """A connection token."""

    channels = serializers.ListField(child=ChannelField(), max_length=CHANNELS_MAX, default=list)


class SubscriptionTokenInput(_ServiceInput):
    """A subscription token."""

    channel = ChannelField()
