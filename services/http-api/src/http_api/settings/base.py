"""Django settings of http-api, for development and production alike.

Source: docs/explanation/architecture.md, "Configuration"; deploy/nginx/README.md for what nginx sends.
"""

from __future__ import annotations

import clarion.settings
from clarion.logs import logging_config
from http_api.env import env

DEBUG = False  # also in development: no traceback ever leaves
SECRET_KEY = env.secret_key.get_secret_value()
SECRET_KEY_FALLBACKS = env.secret_keys_accepted
ALLOWED_HOSTS = env.host_names
CLARION_ORIGINS = env.origins
CLARION_LAB = env.lab_enabled
ROOT_URLCONF = "http_api.urls"
WSGI_APPLICATION = "http_api.wsgi.application"

INSTALLED_APPS = [
    *clarion.settings.SHARED_APPS,
    "django.contrib.messages",
    "django.contrib.admin",
    "django.contrib.staticfiles",
    "rest_framework",
    "clarion.pages",
    "http_api.keys",
    "http_api.accounts",
    "http_api.notifications",
    "http_api.console",
]

MIDDLEWARE = [
    "http_api.health.middleware.HealthMiddleware",  # first: a probe needs no host name, session or static file
    "http_api.metrics.middleware.MetricsMiddleware",
    "clarion.pages.middleware.RequestIdMiddleware",
    "clarion.pages.middleware.SecurityHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
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
                "django.contrib.messages.context_processors.messages",
                "clarion.pages.context.pages",
            ]
        },
    }
]

DATABASES = clarion.settings.databases(env)
DEFAULT_AUTO_FIELD = clarion.settings.DEFAULT_AUTO_FIELD
CHANNEL_LAYERS = clarion.settings.channel_layers(env)

SESSION_COOKIE_NAME = clarion.settings.SESSION_COOKIE_NAME
SESSION_COOKIE_SECURE = not env.is_development
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_NAME = clarion.settings.CSRF_COOKIE_NAME
CSRF_COOKIE_SECURE = not env.is_development
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_TRUSTED_ORIGINS = env.origins
CSRF_FAILURE_VIEW = "http_api.rest.problems.csrf_failure"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")  # nginx replaces what a client sends
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

LOGIN_URL = "/sign-in"
LOGIN_REDIRECT_URL = "/"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

DATA_UPLOAD_MAX_MEMORY_SIZE = env.http_body_max_bytes
REST_FRAMEWORK = {
    # Each view names its own authentication; nothing is reachable by a default (http_api.rest.views.ApiView).
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": ["http_api.rest.permissions.NobodyMay"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["http_api.rest.parsers.StrictJSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "http_api.rest.negotiation.AlwaysJSON",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "http_api.rest.problems.exception_handler",
}

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # files are served from where they are installed: no collectstatic step
WHITENOISE_MAX_AGE = 0  # names carry no hash: a browser asks again, and is told 304 by ETag

TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

LOGGING = logging_config("http-api", env.log_level, env.log_format)
# What anyone can provoke: clarion.pages.problems logs it as an event, without a traceback.
LOGGING["loggers"] |= {
    "django.security.DisallowedHost": {"level": "CRITICAL"},
    "django.security.csrf": {"level": "CRITICAL"},
}
