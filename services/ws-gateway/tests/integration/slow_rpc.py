"""A function of a gateway under test that takes its time; imported by CLARION_RPC_MODULES."""

from __future__ import annotations

import asyncio

from clarion.rpc import RpcContext, rpc


@rpc("slow")
async def slow(_context: RpcContext) -> str:
    """Answer after a second."""
    await asyncio.sleep(1)
    return "done"
