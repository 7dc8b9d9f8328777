"""Functions that a client may call through its connection: ``@rpc("name")`` on a typed function.

```python
@rpc("orders.count")
async def orders_count(context: RpcContext, data: Query) -> int: ...
```

A function takes the caller and one typed argument (any type that msgspec converts JSON to; leave it out if there is
none) and returns any JSON value or msgspec struct. A plain ``def`` runs in a thread with Django's connections looked
after; an ``async def`` on the gateway's event loop, where it must not block. It is called with whatever a client sends:
an argument of another type is refused with error 107 before the call. To refuse a call raise a
:class:`~clarion.errors.ClarionError`; any other exception is logged, and the client is told error 100.

The gateway imports the modules that ``CLARION_RPC_MODULES`` names.

Source: docs/protocol.md, "RPC".
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar, get_type_hints

import msgspec
import structlog
from channels.db import database_sync_to_async

from clarion.errors import ClarionError, MethodNotFound, RequestInvalid

log = structlog.stdlib.get_logger("clarion.rpc")

TIMEOUT_S: Final = 30.0
"""How long a function may take; after that the client is told error 100."""

Function = TypeVar("Function", bound=Callable[..., Any])


class RpcContext(msgspec.Struct, frozen=True):
    """Who calls.

    Attributes:
        user: the user id; "" is anonymous.
        client: the connection's id.
        info: what the connection's token says of it, and what others see: its ``info``.
        meta: what the token says to the application alone: its ``meta``.
    """

    user: str
    client: str
    info: Any = None
    meta: Any = None


class Methods:
    """A registry of functions by name."""

    def __init__(self) -> None:
        self._methods: dict[str, _Method] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._methods

    def register(self, name: str, function: Callable[..., Any]) -> None:
        """Add a function.

        Raises:
            ValueError: the name is taken, or the function's parameters are not (context[, data]).
        """
        if name in self._methods:
            raise ValueError(f"there is an RPC method {name!r} already")
        self._methods[name] = _Method(name, function)

    async def call(self, name: str, context: RpcContext, data: bytes) -> bytes:
        """Call a function with JSON, and return what it returns as JSON.

        Raises:
            MethodNotFound: protocol error 104.
            RequestInvalid: 107; the argument is not of the function's type.
            ClarionError: what the function refused with; 100 for any other exception, which is logged.
        """
        method = self._methods.get(name)
        if method is None:
            raise MethodNotFound(f"there is no method {name[:100]!r}")
        arguments = method.arguments(context, data)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return msgspec.json.encode(await method.run(*arguments))
        except ClarionError:
            raise
        except Exception as exc:
            log.exception("rpc.failed", method=name)
            raise ClarionError from exc


class _Method:
    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        parameters = list(inspect.signature(function).parameters.values())
        if not 1 <= len(parameters) <= 2 or any(p.kind is not p.POSITIONAL_OR_KEYWORD for p in parameters):
            raise ValueError(f"RPC method {name!r}: the parameters are (context) or (context, data)")
        self._decoder: msgspec.json.Decoder[Any] | None = None
        if len(parameters) == 2:
            hints = get_type_hints(function)
            self._decoder = msgspec.json.Decoder(hints.get(parameters[1].name, Any))
        is_async = inspect.iscoroutinefunction(function)
        self.run: Callable[..., Awaitable[Any]] = function if is_async else database_sync_to_async(function)

    def arguments(self, context: RpcContext, data: bytes) -> tuple[Any, ...]:
        if self._decoder is None:
            return (context,)
        try:
            return context, self._decoder.decode(data or b"null")
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
            raise RequestInvalid(f"the argument does not fit: {exc}") from exc


methods: Final = Methods()
"""The functions that :func:`rpc` has registered."""


def rpc(name: str) -> Callable[[Function], Function]:
    """Let clients call the decorated function by this name."""

    def register(function: Function) -> Function:
        methods.register(name, function)
        return function

    return register


def methods_load(modules: Sequence[str]) -> Methods:
    """Import the modules that register functions, and return the registry."""
    for module in modules:
        importlib.import_module(module)
    return methods
