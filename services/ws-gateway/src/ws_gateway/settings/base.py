"""Settings for every deployment: production differs from development by environment only."""

from __future__ import annotations

from clarion import settings as shared
from clarion.logs import logging_config
from ws_gateway.env import env

SECRET_KEY = env.secret_key.get_secret_value()
DEBUG = False
USE_TZ = True
INSTALLED_APPS = shared.SHARED_APPS
DATABASES = shared.databases(env)
CHANNEL_LAYERS = shared.channel_layers(env)
SESSION_COOKIE_NAME = shared.SESSION_COOKIE_NAME
DEFAULT_AUTO_FIELD = shared.DEFAULT_AUTO_FIELD
LOGGING = logging_config("ws-gateway", env.log_level, env.log_format)
