"""Settings for every deployment: production differs from development by environment only.

Pages (the lab's) look and behave as http-api's do; a session or a form of one service is good for the other.
"""

from __future__ import annotations

from clarion import settings as shared
from clarion.logs import logging_config
from clarion.names import lab_tasks_channel
from ws_gateway.env import env

SECRET_KEY = env.secret_key.get_secret_value()
SECRET_KEY_FALLBACKS = env.secret_keys_accepted
DEBUG = False  # also in development: no traceback ever leaves
ALLOWED_HOSTS = env.host_names
CLARION_ORIGINS = env.origins
CLARION_LAB = env.lab_enabled
CLARION_NODE = env.node
CLARION_LAB_TASKS = lab_tasks_channel(env.layer_prefix)
ROOT_URLCONF = "ws_gateway.urls"

# The lab also where it is off: its migrations are the same everywhere.
INSTALLED_APPS = [*shared.SHARED_APPS, "django.contrib.staticfiles", "clarion.pages", "ws_gateway.lab"]

MIDDLEWARE = [
    "clarion.pages.middleware.RequestIdMiddleware",
    "clarion.pages.middleware.SecurityHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "ws_gateway.static_files.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "clarion.pages.context.pages",
                "ws_gateway.lab.context.here",
            ]
        },
    }
]

DATABASES = shared.databases(env)
DEFAULT_AUTO_FIELD = shared.DEFAULT_AUTO_FIELD
CHANNEL_LAYERS = shared.channel_layers(env)

SESSION_COOKIE_NAME = shared.SESSION_COOKIE_NAME
SESSION_COOKIE_SECURE = not env.is_development
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_NAME = shared.CSRF_COOKIE_NAME
CSRF_COOKIE_SECURE = not env.is_development
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_TRUSTED_ORIGINS = env.origins
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")  # nginx replaces what a client sends
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
LOGIN_URL = "/sign-in"  # http-api's

STATIC_URL = "/lab/static/"
WHITENOISE_USE_FINDERS = True  # files are served from where they are installed: no collectstatic step
WHITENOISE_MAX_AGE = 0  # names carry no hash: a browser asks again, and is told 304 by ETag

TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

LOGGING = logging_config("ws-gateway", env.log_level, env.log_format)
# What anyone can provoke: clarion.pages.problems logs it as an event, without a traceback.
LOGGING["loggers"] |= {"django.security.DisallowedHost": {"level": "CRITICAL"}}
