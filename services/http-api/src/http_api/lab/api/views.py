"""``POST /api/v1/lab/questions``."""

from __future__ import annotations

from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from http_api.lab.api.serializers import QuestionInput
from http_api.lab.services import question_ask
from http_api.rest.views import ApiView


class QuestionsView(ApiView):
    """Questions to one consumer. Anybody may ask: who knows a consumer's name has been shown it on its page."""

    body_max_bytes = 16_384
    permission_classes = [AllowAny]

    def post(self, request: Request) -> Response:
        """Ask: 200 with ``{"answer", "node"}``."""
        body = QuestionInput(data=request.data)
        body.is_valid(raise_exception=True)
        return Response(question_ask(**body.validated_data))
