"""The environment of a service: ``CLARION_*`` variables or files of ``/run/secrets``, checked once at start.

Each service subclasses :class:`ServiceEnv` with what it alone needs. All problems are reported at once, one a line,
with the variable's name; production refuses to start on a development secret.

Source: docs/reference/environment.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, NoReturn, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from clarion.addresses import database_url_check, redis_urls_check
from clarion.errors import ConfigInvalid
from clarion.namespaces import ClarionConfig, ClientTable, config_load
from clarion.public_url import LOOPBACK_HOSTS, public_hosts, public_origins
from clarion.refusals import refusals

DEVELOPMENT_SECRET_PREFIX: Final = "dev-"  # noqa: S105 - a mark, not a secret
"""How every secret starts that ``make up`` makes."""

_DEVELOPMENT_SECRET: Final = "a development secret does not serve production"  # noqa: S105 - a text

SECRET_KEY_MIN_CHARS: Final = 32
"""Of Django's secret key and of each of its fallbacks."""

TOKEN_SECRET_MIN_CHARS: Final = 32
"""RFC 7518 section 3.2: a key of HS256 is as long as its hash."""

EXIT_CONFIG: Final = 78
"""Exit code of a process that refuses its configuration (EX_CONFIG of sysexits.h)."""

_SECRETS_DIR = Path("/run/secrets")

Env = TypeVar("Env", bound="ServiceEnv")


class ServiceEnv(BaseSettings):
    """What all services need."""

    model_config = SettingsConfigDict(
        env_prefix="CLARION_",
        secrets_dir=_SECRETS_DIR if _SECRETS_DIR.is_dir() else None,
        frozen=True,
        extra="ignore",
    )

    environment: Literal["development", "production"] = "production"
    secret_key: SecretStr = Field(min_length=SECRET_KEY_MIN_CHARS)
    """Django's secret key, the same for all services: it signs sessions."""
    secret_key_fallbacks: SecretStr = SecretStr("")
    """Keys before or after it in a rotation, separated by commas: what they signed is still believed."""
    token_secret: SecretStr = SecretStr("")
    """HMAC key of tokens, the same for all services, before the one of ``clarion.toml``; see :attr:`hmac_secret`."""
    token_secret_fallbacks: SecretStr = SecretStr("")
    """HMAC keys before or after it in a rotation, separated by commas: their tokens are accepted, none is made."""
    database_url: str = Field(validation_alias="DATABASE_URL")
    """``postgres://user:password@host/name`` or ``sqlite:////absolute/path``."""
    redis_url: str
    """``redis://[:password@]host:port``; several, separated by commas, are shards."""
    redis_timeout_s: float = Field(default=1.0, gt=0, le=30)
    """How long one command may take to be answered before Redis counts as away."""
    layer_prefix: str = Field(default="asgi", pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    """Prefix of every Redis name. Redis pub/sub ignores database numbers: two deployments on one server need two."""
    public_url: str = Field(pattern=r"^https?://[^/\s]+$")
    """The origin that browsers see, e.g. ``https://push.example``."""
    config: Path | None = None
    """Path of ``clarion.toml``. Left out: no namespace is defined."""
    lab: bool | None = None
    """Whether the lab is served. Left out: in development it is, in production it is not."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"

    _database_url = field_validator("database_url")(database_url_check)
    _redis_url = field_validator("redis_url")(redis_urls_check)

    @field_validator("secret_key_fallbacks")
    @classmethod
    def _secret_key_fallbacks(cls, keys: SecretStr) -> SecretStr:
        if any(len(key) < SECRET_KEY_MIN_CHARS for key in _listed(keys)):
            raise ValueError(f"each key has at least {SECRET_KEY_MIN_CHARS} characters; commas stand between keys")
        return keys

    @field_validator("token_secret", "token_secret_fallbacks")
    @classmethod
    def _token_secret(cls, secret: SecretStr) -> SecretStr:
        if "-----BEGIN" in secret.get_secret_value():
            raise ValueError("this is a PEM key: an HMAC key is a secret text; a public key stands in clarion.toml")
        return secret

    @model_validator(mode="after")
    def _secrets_serve_production(self) -> ServiceEnv:
        if self.environment == "production" and (problems := list(self._secret_problems())):
            raise ValueError("\n".join(problems))
        return self

    def _secret_problems(self) -> Iterator[str]:
        keys = {"SECRET_KEY": [self.secret_key.get_secret_value()], "SECRET_KEY_FALLBACKS": self.secret_keys_accepted}
        for name, values in keys.items():
            if any(key.startswith(DEVELOPMENT_SECRET_PREFIX) for key in values):
                yield f"CLARION_{name}: {_DEVELOPMENT_SECRET}"
        token_secret = self.token_secret.get_secret_value()
        keys = {"TOKEN_SECRET": [token_secret], "TOKEN_SECRET_FALLBACKS": self.hmac_secrets_accepted}
        for name, values in keys.items():
            yield from (f"CLARION_{name}: {problem}" for key in values for problem in hmac_key_problems(SecretStr(key)))

    @property
    def secret_keys_accepted(self) -> list[str]:
        """Django's ``SECRET_KEY_FALLBACKS``."""
        return _listed(self.secret_key_fallbacks)

    @property
    def hmac_secrets_accepted(self) -> list[str]:
        """HMAC keys whose tokens are accepted beside those of :attr:`hmac_secret`."""
        return _listed(self.token_secret_fallbacks)

    @property
    def redis_urls(self) -> list[str]:
        """One URL a shard."""
        return [url.strip() for url in self.redis_url.split(",")]

    @property
    def is_development(self) -> bool:
        """Whether this is a developer's machine: development secrets pass, cookies travel over plain HTTP."""
        return self.environment == "development"

    @property
    def lab_enabled(self) -> bool:
        """Whether the lab's page, sockets and tasks are served."""
        return self.is_development if self.lab is None else self.lab

    @cached_property
    def clarion_config(self) -> ClarionConfig:
        """The checked ``clarion.toml``; without one, no namespace is defined.

        Raises:
            ConfigInvalid: the file is wrong; :func:`env_load` has told that at start.
        """
        return config_load(self.config) if self.config else ClarionConfig()

    @property
    def hmac_secret(self) -> str:
        """The HMAC key of tokens: ``CLARION_TOKEN_SECRET``, else ``client.token.hmac_secret_key``; "" is none."""
        return (
            self.token_secret.get_secret_value() or self.clarion_config.client.token.hmac_secret_key.get_secret_value()
        )

    def config_problems(self) -> list[str]:
        """What is wrong with ``clarion.toml``, and with it in this environment; one line a problem."""
        try:
            client = self.clarion_config.client
        except ConfigInvalid as exc:
            return [f"CLARION_CONFIG: {problem}" for problem in exc.problems]
        problems = []
        if not (self.hmac_secret or client.token.has_keys or client.insecure):
            problems.append("CLARION_TOKEN_SECRET: required, unless client.token of clarion.toml has a key")
        if self.environment == "production":
            problems += [f"CLARION_CONFIG: {problem}" for problem in production_problems(client)]
        return problems


class PagesEnv(ServiceEnv):
    """What a service with pages needs beside: the host names that it answers to."""

    allowed_hosts: str = ""
    """Host names beside ``CLARION_PUBLIC_URL``'s, separated by commas: what services inside the network call us."""

    @property
    def host_names(self) -> list[str]:
        """Every name that a request's Host header may hold."""
        extra = [name.strip() for name in self.allowed_hosts.split(",") if name.strip()]
        local = LOOPBACK_HOSTS if self.is_development else ()
        return list(dict.fromkeys([*public_hosts(self.public_url), *extra, *local]))

    @property
    def origins(self) -> list[str]:
        """Every origin that our own pages may have, in lower case."""
        return public_origins(self.public_url)


def _listed(secrets: SecretStr) -> list[str]:
    return [secret.strip() for secret in secrets.get_secret_value().split(",") if secret.strip()]


def hmac_key_problems(key: SecretStr) -> Iterator[str]:
    """Why a key does not serve production; an empty one is none."""
    secret = key.get_secret_value()
    if secret.startswith(DEVELOPMENT_SECRET_PREFIX):
        yield _DEVELOPMENT_SECRET
    if secret and len(secret) < TOKEN_SECRET_MIN_CHARS:
        yield f"at least {TOKEN_SECRET_MIN_CHARS} characters in production"


def production_problems(client: ClientTable) -> Iterator[str]:
    """What production refuses of ``[client]``, beside what is wrong everywhere."""
    if client.insecure:
        yield "client.insecure: lets anyone do anything"
    tables = {"client.token": client.token}
    if client.subscription_token is not None and client.subscription_token.enabled:
        tables["client.subscription_token"] = client.subscription_token
    for path, table in tables.items():
        keys = {"hmac_secret_key": table.hmac_secret_key, "hmac_previous_secret_key": table.hmac_previous_secret_key}
        for name, key in keys.items():
            yield from (f"{path}.{name}: {problem}" for problem in hmac_key_problems(key))


class _FileEnv(BaseSettings):
    """Where ``clarion.toml`` is: its problems are told also when other variables are wrong."""

    model_config = ServiceEnv.model_config

    config: Path | None = None


def env_load(kind: type[Env]) -> Env:
    """Read and check a service's environment; on any problem say all of them and exit with ``EXIT_CONFIG``."""
    try:
        env = kind()
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_input=False)
        _exit([_problem(error["loc"], error["msg"]) for error in errors] + _file_problems())
    if problems := env.config_problems():
        _exit(problems)
    return env


def refused_exit(env: ServiceEnv) -> None:
    """Exit with ``EXIT_CONFIG`` if PostgreSQL or a Redis answers and refuses its URL; once, when a process starts."""
    if problems := refusals(env.database_url, env.redis_urls, env.layer_prefix):
        _exit(problems)


def _file_problems() -> list[str]:
    try:
        if path := _FileEnv().config:
            config_load(path)
    except ConfigInvalid as exc:
        return [f"CLARION_CONFIG: {problem}" for problem in exc.problems]
    except ValidationError:  # CLARION_CONFIG itself, which has been told
        pass
    return []


def _problem(location: tuple[int | str, ...], text: str) -> str:
    text = text.removeprefix("Value error, ")
    if not location:
        return text
    name = str(location[0])
    return f"{name if name.isupper() else 'CLARION_' + name.upper()}: {text}"


def _exit(problems: list[str]) -> NoReturn:
    lines = [line for problem in problems for line in problem.splitlines()]
    sys.stderr.write("".join(f"configuration: {line}\n" for line in lines))
    sys.stderr.flush()
    sys.exit(EXIT_CONFIG)
