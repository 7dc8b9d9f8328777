"""What others are told of a user."""

from __future__ import annotations

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User

from clarion.values import JSON


def user_document(user: AbstractBaseUser | AnonymousUser) -> JSON:
    """``{"id", "username", "is_staff"}`` of who is signed in, else None. The id is the primary key as text."""
    if not isinstance(user, User):
        return None
    return {"id": str(user.pk), "username": user.get_username(), "is_staff": user.is_staff}
