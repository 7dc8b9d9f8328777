"""Serializer parts of a publication."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rest_framework import serializers

from clarion.errors import DataInvalid, PublicationTooLarge
from clarion.publications import idempotency_key_check, tags_check


class _RuleField(serializers.Field[Any, Any, Any, Any]):
    """A value that a rule of :mod:`clarion.publications` decides on."""

    rule: Callable[[object], Any]

    def to_internal_value(self, data: Any) -> Any:
        """The value, if the rule allows it."""
        try:
            return type(self).rule(data)
        except (DataInvalid, PublicationTooLarge) as exc:
            raise serializers.ValidationError(exc.detail, code=exc.code) from exc

    def to_representation(self, value: Any) -> Any:
        """The value itself."""
        return value


class IdempotencyKeyField(_RuleField):
    """An idempotency key (:func:`clarion.publications.idempotency_key_check`)."""

    rule = staticmethod(idempotency_key_check)


class TagsField(_RuleField):
    """A publication's tags (:func:`clarion.publications.tags_check`)."""

    rule = staticmethod(tags_check)
