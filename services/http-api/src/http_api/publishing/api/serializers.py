"""Bodies of publishing."""

from __future__ import annotations

from http_api.publishing.api.fields import IdempotencyKeyField, TagsField
from http_api.rest.fields import AnyJSONField, StrictSerializer


class PublicationInput(StrictSerializer):
    """``{"data": any JSON value, "idempotency_key"?, "tags"?}``."""

    data = AnyJSONField()  # type: ignore[assignment]  # a field named as DRF's own property is meant
    idempotency_key = IdempotencyKeyField(required=False)
    tags = TagsField(required=False)
