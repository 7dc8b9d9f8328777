"""Clarion: real-time push for Django.

What a Django service imports: ``clarion.publish`` (see :mod:`clarion.publishing`) and the channel
layer ``clarion.layers.ClarionChannelLayer``. Nothing here imports Django until it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "publish"]

if TYPE_CHECKING:
    from clarion.publishing import publish


def __getattr__(name: str) -> Any:
    if name == "publish":  # lazily: its module needs a configured Django
        from clarion.publishing import publish

        return publish
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
