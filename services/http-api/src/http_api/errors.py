"""What http-api alone refuses, beside :mod:`clarion.errors`.

Source: docs/reference/errors.md; RFC 9110 sections 11.6.1 and 15.5; RFC 6750 section 3 for the challenges.
"""

from __future__ import annotations

from typing import ClassVar

from clarion.errors import ClarionError, PermissionRefused, Unauthorized


class BodyTooLarge(ClarionError):
    """The request's body is larger than this service reads."""

    code = "body_too_large"
    http_status = 413


class LengthRequired(ClarionError):
    """A body needs a Content-Length."""

    code = "length_required"
    http_status = 411


class CredentialsMissing(Unauthorized):
    """An API key is needed: Authorization: Bearer, or X-API-Key."""

    challenge: ClassVar[str] = 'Bearer realm="clarion"'


class KeyInvalid(Unauthorized):
    """The API key is not known or has been revoked."""

    code = "key_invalid"
    challenge: ClassVar[str] = 'Bearer realm="clarion", error="invalid_token"'


class SignInFailed(Unauthorized):
    """The user name or the password is wrong."""

    code = "sign_in_failed"
    challenge: ClassVar[str] = 'Session realm="clarion"'


class ScopeMissing(PermissionRefused):
    """The API key lacks the scope that this call needs."""

    code = "scope_missing"


class CsrfFailed(PermissionRefused):
    """The CSRF token is missing or wrong: send the clarion_csrf cookie's value as X-CSRFToken."""

    code = "csrf_failed"


class NoAnswer(ClarionError):
    """Nobody answered in time: the consumer is gone, or busy, or its answer was lost."""

    code = "no_answer"
    http_status = 504
    temporary = True


class BatchUnfinished(ClarionError):
    """The commands before it took too long: send this one again, in a smaller batch."""

    code = "batch_unfinished"
    http_status = 503
    temporary = True


class DatabaseUnavailable(ClarionError):
    """The database did not answer; nothing was changed."""

    code = "database_unavailable"
    http_status = 503
    temporary = True
