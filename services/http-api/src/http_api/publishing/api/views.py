"""``POST /api/v1/channels/{channel}/publications``."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from http_api.env import env
from http_api.keys.api.authentication import ApiKeyAuthentication
from http_api.keys.api.permissions import scope_needed
from http_api.keys.scopes import Scope
from http_api.publishing.api.serializers import PublicationInput
from http_api.publishing.services import channel_open, publication_send
from http_api.rest.views import ApiView


class PublicationsView(ApiView):
    """Publications of one channel. Scope ``publish``."""

    # Compact JSON of the limit, each byte escaped as six, and half as much white space; parsing more would cost a
    # worker seconds before its size is known.
    body_max_bytes = min(env.http_body_max_bytes, 9 * env.clarion_config.limits.publication_bytes + 1024)
    authentication_classes = [ApiKeyAuthentication]
    permission_classes = [scope_needed(Scope.PUBLISH)]

    def post(self, request: Request, channel: str) -> Response:
        """Publish: 202 with ``{"channel", "id"}``, with history also ``offset`` and ``epoch``."""
        channel_open(channel)
        body = PublicationInput(data=request.data)
        body.is_valid(raise_exception=True)
        published = publication_send(channel, **body.validated_data)
        answer: dict[str, object] = {"channel": published.channel, "id": published.id}
        if published.offset:
            answer |= {"offset": published.offset, "epoch": published.epoch}
        return Response(answer, status=202)
