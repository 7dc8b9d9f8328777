"""Presence of this gateway's clients: who is in which channel, for all to read."""

from __future__ import annotations

from ws_gateway.presence.presence import Presence

__all__ = ["Presence"]
