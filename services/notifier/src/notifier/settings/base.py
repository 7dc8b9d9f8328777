"""Django settings of the notifier: the shared tables, the channel layer, no HTTP.

Source: docs/explanation/architecture.md, "Configuration".
"""

from __future__ import annotations

from typing import Any, Final

import clarion.settings
from clarion.logs import logging_config
from notifier.env import env

DATABASE_DEADLINE_S: Final = 6.0
"""How long one transaction may take. The database gives up earlier, by the options below."""

SECRET_KEY = env.secret_key.get_secret_value()
SECRET_KEY_FALLBACKS = env.secret_keys_accepted
INSTALLED_APPS = clarion.settings.SHARED_APPS
DATABASES: dict[str, Any] = clarion.settings.databases(env)
_options: dict[str, Any] = DATABASES["default"].setdefault("OPTIONS", {})
if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    # A claim must fail long before its lease ends, not hold its thread; what the URL itself says comes first.
    _limits: dict[str, Any] = {
        "options": "-c statement_timeout=5s -c lock_timeout=4s",
        "application_name": "clarion-notifier",
    }
    DATABASES["default"]["OPTIONS"] = _limits | _options | {"tcp_user_timeout": 5_000}
else:
    _options["timeout"] = 4  # the busy timeout, in seconds
DEFAULT_AUTO_FIELD = clarion.settings.DEFAULT_AUTO_FIELD
CHANNEL_LAYERS = clarion.settings.channel_layers(env)

TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

LOGGING = logging_config("notifier", env.log_level, env.log_format)
