"""Bodies of publishing."""

from __future__ import annotations

from http_api.rest.fields import AnyJSONField, StrictSerializer


class PublicationInput(StrictSerializer):
    """``{"data": any JSON value}``."""

    data = AnyJSONField()  # type: ignore[assignment]  # a field named as DRF's own property is meant
