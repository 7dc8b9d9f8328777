"""Serializer parts that take JSON as it is: DRF's own turn 5 into "5", "5" into 5 and ignore unknown fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rest_framework import serializers

from clarion.errors import NameInvalid
from clarion.names import channel_check, user_id_check
from clarion.values import JSON


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that refuses fields it does not know: a misspelt option must not be dropped in silence."""

    default_error_messages = {"unknown": "There is no such field."}

    def to_internal_value(self, data: Any) -> Any:
        """Report unknown fields together with whatever else is wrong."""
        if not isinstance(data, dict):
            return super().to_internal_value(data)
        unknown = data.keys() - self.fields.keys()
        if not unknown:
            return super().to_internal_value(data)
        message = serializers.ErrorDetail(str(self.error_messages["unknown"]), code="unknown")
        errors: dict[str, Any] = {name: [message] for name in sorted(unknown)}
        try:
            super().to_internal_value(data)
        except serializers.ValidationError as exc:
            errors = {**errors, **exc.detail} if isinstance(exc.detail, dict) else errors
        raise serializers.ValidationError(errors)


class AnyJSONField(serializers.Field[JSON, JSON, JSON, Any]):
    """Any JSON value, null included; whether it can travel is checked where it is used."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_null=True, **kwargs)

    def to_internal_value(self, data: JSON) -> JSON:
        """The value itself."""
        return data

    def to_representation(self, value: JSON) -> JSON:
        """The value itself."""
        return value


class TextField(serializers.CharField):
    """Text, and not a number that looks like one."""

    default_error_messages = {"invalid": "This is not a text."}

    def to_internal_value(self, data: Any) -> str:
        """The text, trimmed unless told otherwise."""
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class NumberField(serializers.IntegerField):
    """A whole JSON number."""

    default_error_messages = {"invalid": "This is not a whole number."}

    def to_internal_value(self, data: Any) -> int:
        """The number."""
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)


class NameField(serializers.Field[str, Any, str, Any]):
    """A name that a rule of :mod:`clarion.names` decides on."""

    rule: Callable[[object], str]

    def to_internal_value(self, data: Any) -> str:
        """The name."""
        try:
            return type(self).rule(data)
        except NameInvalid as exc:
            raise serializers.ValidationError(exc.detail, code=exc.code) from exc

    def to_representation(self, value: str) -> str:
        """The name itself."""
        return value


class UserIdField(NameField):
    """A user id (:func:`clarion.names.user_id_check`)."""

    rule = staticmethod(user_id_check)


class ChannelField(NameField):
    """A channel's name (:func:`clarion.names.channel_check`)."""

    rule = staticmethod(channel_check)
