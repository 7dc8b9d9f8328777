"""Durations as configuration files write them: ``"300s"``, ``"24h"``, ``"1h30m"``; a unit is always there.

Source: Go's time.ParseDuration, which Centrifugo's configuration uses.
"""

from __future__ import annotations

import re
from typing import Any, Final

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

_UNITS_S: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})(ns|us|µs|ms|s|m|h)")
_MOST_S: Final = 3650 * 86_400.0
"""Ten years: beyond it somebody has mistaken the unit, and Redis or a timer may overflow."""


class Duration(float):
    """A length of time: a number of seconds that is written with its unit."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Duration:
        """Read ``"1h30m"``, ``"500ms"``, ``"0"``.

        Raises:
            ValueError: anything else, a number without a unit or a negative one included.
        """
        if isinstance(text, cls):
            return text
        if not isinstance(text, str):
            raise ValueError('a duration is text with a unit, such as "300s", "10m" or "24h"')  # noqa: TRY004
        parts = _PART.findall(text)
        if text == "0":
            return cls(0)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            raise ValueError(f'{text[:40]!a} is no duration such as "300s", "10m" or "1h30m"')
        seconds = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
        if seconds > _MOST_S:
            raise ValueError("a duration is at most ten years")
        return cls(round(seconds, 9))

    def __str__(self) -> str:
        """As in a configuration file, e.g. ``1h30m`` or ``8s``."""
        hours, rest = divmod(round(float(self), 9), 3600)
        minutes, seconds = divmod(rest, 60)
        parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
        return "".join(f"{round(number, 9):g}{unit}" for number, unit in parts if number) or "0s"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse)
