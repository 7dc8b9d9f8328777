"""The permission of a view that names none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

if TYPE_CHECKING:  # rest_framework.views loads this module by its name in the settings
    from rest_framework.views import APIView


class NobodyMay(BasePermission):
    """Refuse: a view must say who may call it."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Nobody may."""
        return False
