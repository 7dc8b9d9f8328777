"""Logs: structlog through the standard library, one event a line.

JSON in containers, coloured on a terminal. An event is ``noun.verb`` with keys; request, connection and trace ids are
bound with ``structlog.contextvars``. Never a body, a token or a query string;
:func:`redact` is a net under that rule.

Source: docs/glossary.md, "Logs".
"""

from __future__ import annotations

import logging
import logging.config
import re
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_SECRET_KEYS: Final = re.compile(r"(?i)^(authorization|cookie|token|password|secret|api_key|x-api-key)$")
_SECRET_QUERY: Final = re.compile(r"(?i)\b(token|key|secret|password)=[^&\s\"']+")
_JWT: Final = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*")
REDACTED: Final = "[redacted]"


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Blank what looks like a secret in any value of an event."""
    for key, value in event.items():
        if _SECRET_KEYS.match(key):
            event[key] = REDACTED
        elif isinstance(value, str) and ("=" in value or "eyJ" in value):
            event[key] = _JWT.sub(REDACTED, _SECRET_QUERY.sub(rf"\1={REDACTED}", value))
    return event


_extra: Final = structlog.stdlib.ExtraAdder()


def name_foreign(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Name a line of plain ``logging`` by its ``extra={"event": …}``; its text stays as ``message``.

    So ``clarion.server`` says a sentence in any project, and an event here. A line without a name is its text.
    """
    text = event["event"]
    named = _extra(logger, method, event)
    return named if named["event"] == text else {**named, "message": text}


_FIRST: Final = ("timestamp", "level", "event")


def order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put first what one looks for in each line, whatever else is in it."""
    return {**{key: event[key] for key in _FIRST if key in event}, **event}


def logging_config(service: str, level: str = "INFO", form: str = "json") -> dict[str, Any]:
    """A ``logging.config.dictConfig`` that renders stdlib and structlog events alike, on stderr.

    Also what Django's ``LOGGING`` setting holds. Args: ``form`` is "json" or "console".
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.UnicodeDecoder(),
    ]
    renderer: list[Processor] = (
        # A traceback as text, never with locals: they hold tokens and payloads.
        [structlog.processors.format_exc_info, redact, order, structlog.processors.JSONRenderer()]
        if form == "json"
        else [redact, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )

    def bind_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "events": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": [*shared, name_foreign],
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, bind_service, *renderer],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "events"}},
        "root": {"handlers": ["stderr"], "level": level},
        # A request that Django answers with 4xx is not news; nginx's access log holds it.
        "loggers": {"django.request": {"level": "ERROR"}, "asyncio": {"level": "WARNING"}},
    }


def logging_setup(service: str, level: str = "INFO", form: str = "json") -> None:
    """Apply :func:`logging_config` to this process."""
    logging.config.dictConfig(logging_config(service, level, form))
