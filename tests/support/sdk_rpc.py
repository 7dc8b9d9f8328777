"""Functions for the tests of rpc; a product's gateways import this by CLARION_RPC_MODULES."""

from __future__ import annotations

import os

import msgspec

from clarion.errors import PermissionRefused
from clarion.rpc import RpcContext, rpc
from clarion.values import JSON


class Sum(msgspec.Struct):
    """Two numbers."""

    a: int
    b: int


@rpc("sdk.whoami")
async def whoami(context: RpcContext) -> dict[str, JSON]:
    """Say who calls, and which node answers."""
    node = os.environ["CLARION_NODE"]
    return {"user": context.user, "client": context.client, "info": context.info, "meta": context.meta, "node": node}


@rpc("sdk.add")
def add(_context: RpcContext, data: Sum) -> int:
    """Add, in a thread."""
    return data.a + data.b


@rpc("sdk.refuse")
async def refuse(_context: RpcContext) -> None:
    """Refuse the call."""
    raise PermissionRefused("not you")


@rpc("sdk.defect")
async def defect(_context: RpcContext) -> None:
    """Fail as a function with a defect does."""
    raise ZeroDivisionError
