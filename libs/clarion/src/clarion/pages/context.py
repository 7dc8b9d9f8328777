"""What every template is told.

Django setting: ``CLARION_LAB``, whether this deployment serves the lab.
"""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def pages(_request: HttpRequest) -> dict[str, bool]:
    """Which pages there are to link to."""
    return {"has_lab": settings.CLARION_LAB}
