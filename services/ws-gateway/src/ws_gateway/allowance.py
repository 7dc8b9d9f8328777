"""How much one client may say: so many commands a second in the long run, more at once after a rest.

Source: docs/protocol.md, "Limits of a connection".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from clarion.namespaces import LimitsTable

REFUSED_MAX: Final = 50
"""Commands over the limit that get an error; after that the client is sent away."""


def allowance_left(left: float, elapsed_s: float, limits: LimitsTable) -> float:
    """What is left after one more command; under 0 it is one too many.

    Args:
        left: what was left after the last one.
        elapsed_s: since then.
    """
    if not limits.commands_per_s:
        return left
    return min(float(limits.commands_burst), left + elapsed_s * limits.commands_per_s) - 1
