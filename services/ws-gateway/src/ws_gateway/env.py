"""The gateway's environment. Source: docs/reference/environment.md."""

from __future__ import annotations

import os
import socket
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from clarion.env import PagesEnv, env_load


class GatewayEnv(PagesEnv):
    """What the gateway needs beside what every service with pages needs."""

    node: str = Field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}", max_length=100)
    """This replica's name, as clients and logs see it."""
    join_timeout_s: float = Field(default=2.0, gt=0, le=30)
    """How long a client's join may wait for Redis to confirm the subscription, and for a session to be read."""
    rpc_modules: Annotated[tuple[str, ...], NoDecode] = ()
    """Modules whose ``@rpc`` functions clients may call; in the variable, names separated by commas."""

    @field_validator("rpc_modules", mode="before")
    @classmethod
    def _module_names(cls, names: object) -> object:
        if not isinstance(names, str):
            return names
        modules = tuple(name.strip() for name in names.split(",") if name.strip())
        for name in modules:
            if not all(part.isidentifier() for part in name.split(".")):
                raise ValueError(f"{name[:100]!a} is no name of a Python module")
        return modules


env = env_load(GatewayEnv)
