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
    gateway_bind: str = Field(default="127.0.0.1:8001", pattern=r"^(unix:/\S+|\S+:\d{1,5})$")
    """``host:port`` or ``unix:/path`` that clients, or nginx for them, connect to."""
    internal_host: str = "127.0.0.1"
    """Address of the internal port; in a container, the container's."""
    internal_port: int = Field(default=9102, ge=0, le=65_535)
    """Port of health checks and of what operators ask for; 0 takes a free one and logs it."""
    connections_max: int | None = Field(default=None, ge=1)
    """Sockets and HTTP streams at once; more are answered with 503. Left out, and never more than: the files that the
    process may open, less 128."""
    backlog: int = Field(default=4096, ge=1, le=65_535)
    """Connections that may wait to be accepted; the kernel caps it at ``net.core.somaxconn``."""
    message_bytes_max: int = Field(default=2**20, ge=1024)
    """Bytes of a client's message, then 1009; ``clarion.toml`` has lower limits for each kind of it."""
    queued_bytes_max: int = Field(default=2**20, ge=4096)
    """Bytes that may wait for one client that reads slowly; over it, it is told and sent away."""
    large_bytes_max: int = Field(default=64 * 2**20, ge=2**20)
    """Bytes of replies that one client has asked for and that may wait for it, beside the former."""
    process_queued_bytes_max: int = Field(default=256 * 2**20, ge=2**20)
    """Both, for all clients of the process together."""
    deflate: bool = False
    """Whether messages are compressed (permessage-deflate) for clients that offer it: less traffic for more CPU."""
    deflate_min_bytes: int = Field(default=256, ge=1)
    """The smallest message that is."""
    drain_wait_s: float = Field(default=0.0, ge=0, le=3600)
    """How long after SIGTERM clients are still accepted, while readiness says no: until the balancer knows."""
    drain_s: float = Field(default=10.0, ge=0, le=3600)
    """Over which clients are sent away, at an even pace; so few that 100 a second suffice are in less."""
    drain_grace_s: float = Field(default=10.0, ge=0, le=3600)
    """How long after the last one was told close handshakes and replies under way may take."""
    shed_share: float = Field(default=0.5, gt=0, le=1)
    """The share of the clients that SIGUSR2 sends away."""

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
