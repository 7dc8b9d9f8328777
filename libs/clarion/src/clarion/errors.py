"""Every error that leaves Clarion, as one tree.

A class carries all that a front needs to answer with it: ``code`` (stable, in problem documents and in
error frames), ``http_status``, ``protocol_code`` (docs/protocol.md, "Codes") and ``temporary`` (the same
call may succeed later). The docstring's first line is the default text; an instance may be more precise.
A text never holds a secret, a token or a payload.

Source: RFC 9457 for the HTTP form; the Centrifugo client protocol for the codes.
"""

from __future__ import annotations

from typing import ClassVar

from clarion.codes import ErrorCode


class ClarionError(Exception):
    """Something went wrong inside; it has been logged."""

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500
    protocol_code: ClassVar[ErrorCode] = ErrorCode.INTERNAL
    temporary: ClassVar[bool] = False

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or self.default_detail()
        super().__init__(self.detail)

    @classmethod
    def default_detail(cls) -> str:
        """The first line of the class's docstring: the text when none is given."""
        return (cls.__doc__ or cls.__name__).partition("\n")[0]


class NameInvalid(ClarionError, ValueError, TypeError):
    """The name breaks a rule of channel names or user ids.

    A ``TypeError`` too, because Channels' own layers raise that for a bad group name.
    """

    code = "name_invalid"
    http_status = 400
    protocol_code = ErrorCode.BAD_REQUEST


class DataInvalid(ClarionError, ValueError):
    """The data is not a JSON value that can travel: NaN, an integer beyond 64 bits, a lone surrogate."""

    code = "data_invalid"
    http_status = 400
    protocol_code = ErrorCode.BAD_REQUEST


class JsonMalformed(DataInvalid):
    """This is not JSON."""

    code = "json_malformed"


class PublicationTooLarge(ClarionError, ValueError):
    """The data is larger than ``limits.publication_bytes`` allows once encoded as JSON."""

    code = "publication_too_large"
    http_status = 413
    protocol_code = ErrorCode.BAD_REQUEST


class NamespaceUnknown(ClarionError):
    """No such namespace is defined."""

    code = "namespace_unknown"
    http_status = 404
    protocol_code = ErrorCode.UNKNOWN_CHANNEL


class RequestInvalid(ClarionError, ValueError):
    """The command is not what the protocol says."""

    code = "request_invalid"
    http_status = 400
    protocol_code = ErrorCode.BAD_REQUEST


class MethodNotFound(ClarionError):
    """There is no such method."""

    code = "method_not_found"
    http_status = 404
    protocol_code = ErrorCode.METHOD_NOT_FOUND


class HostNotAllowed(ClarionError):
    """The request's Host is not the one of CLARION_PUBLIC_URL: use the address that this deployment is known by."""

    code = "host_not_allowed"
    http_status = 400
    protocol_code = ErrorCode.BAD_REQUEST


class AlreadySubscribed(ClarionError):
    """This connection has subscribed to the channel already."""

    code = "already_subscribed"
    http_status = 409
    protocol_code = ErrorCode.ALREADY_SUBSCRIBED


class LimitExceeded(ClarionError):
    """A limit of the configuration is reached."""

    code = "limit_exceeded"
    http_status = 429
    protocol_code = ErrorCode.LIMIT_EXCEEDED


class NotAvailable(ClarionError):
    """The channel's namespace has not switched that on."""

    code = "not_available"
    http_status = 404
    protocol_code = ErrorCode.NOT_AVAILABLE


class UnrecoverablePosition(ClarionError):
    """The stream no longer holds that position, or is another one: start from its top and reload."""

    code = "unrecoverable_position"
    http_status = 410
    protocol_code = ErrorCode.UNRECOVERABLE_POSITION


class Unauthorized(ClarionError):
    """Sign in, or send a valid token or key."""

    code = "unauthorized"
    http_status = 401
    protocol_code = ErrorCode.UNAUTHORIZED


class TokenInvalid(Unauthorized):
    """The token is malformed, wrongly signed or not meant for this service."""

    code = "token_invalid"


class TokenExpired(Unauthorized):
    """The token has expired: fetch a new one."""

    code = "token_expired"
    protocol_code = ErrorCode.TOKEN_EXPIRED


class Expired(ClarionError):
    """What was to be kept alive has expired."""

    code = "expired"
    http_status = 410
    protocol_code = ErrorCode.EXPIRED


class PermissionRefused(ClarionError):
    """This caller may not do that on this channel."""

    code = "permission_denied"
    http_status = 403
    protocol_code = ErrorCode.PERMISSION_DENIED


class TooManyRequests(ClarionError):
    """Too much at once: wait and try again."""

    code = "too_many_requests"
    http_status = 429
    protocol_code = ErrorCode.TOO_MANY_REQUESTS
    temporary = True


class ConcurrentPagination(ClarionError):
    """The stream changed while it was being paged through: ask again."""

    code = "concurrent_pagination"
    http_status = 409
    protocol_code = ErrorCode.CONCURRENT_PAGINATION
    temporary = True


class ChannelLayerUnavailable(ClarionError):
    """Redis did not answer in time; nothing is known to have been sent."""

    code = "layer_unavailable"
    http_status = 503
    temporary = True


class KeysUnavailable(ClarionError):
    """The keys that a token is checked with could not be fetched: try again."""

    code = "keys_unavailable"
    http_status = 503
    temporary = True


class ConfigInvalid(ClarionError):
    """The configuration is wrong: every problem is listed, one a line."""

    code = "config_invalid"

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))
