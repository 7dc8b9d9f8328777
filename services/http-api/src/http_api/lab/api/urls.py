"""URLs of the lab; routed only where the lab is on."""

from __future__ import annotations

from django.urls import path

from http_api.lab.api.views import QuestionsView

urlpatterns = [path("lab/questions", QuestionsView.as_view(), name="lab-questions")]
