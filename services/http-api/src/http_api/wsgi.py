"""The WSGI application that gunicorn runs."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from http_api.drain import DrainingApplication
from http_api.health.checks import redis_look

# Django finds its settings by this variable alone; a deployment may name others.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "http_api.settings.base")

application = DrainingApplication(get_wsgi_application())
redis_look()
