"""``POST /api/v1/notifications``."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from clarion.inbox.services import notification_create
from http_api.keys.api.authentication import ApiKeyAuthentication
from http_api.keys.api.permissions import scope_needed
from http_api.keys.scopes import Scope
from http_api.notifications.api.serializers import NotificationInput
from http_api.rest.views import ApiView


class NotificationsView(ApiView):
    """Notifications. Scope ``notify``."""

    authentication_classes = [ApiKeyAuthentication]
    permission_classes = [scope_needed(Scope.NOTIFY)]

    def post(self, request: Request) -> Response:
        """Notify: 202 with ``{"id", "users", "created_at"}`` once all rows are committed; Redis is not needed."""
        body = NotificationInput(data=request.data)
        body.is_valid(raise_exception=True)
        wanted = body.validated_data
        notification = notification_create(wanted["users"], wanted["title"], wanted["body"], wanted["data"])
        created_at = notification.created_at.isoformat().replace("+00:00", "Z")
        document = {"id": str(notification.id), "users": len(wanted["users"]), "created_at": created_at}
        return Response(document, status=202)
