"""clarion.tokens: which key a token is checked with, and for whom it must be made."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from clarion.errors import NameInvalid, NotAvailable, TokenExpired, TokenInvalid
from clarion.namespaces import ClarionConfig, config_parse
from clarion.tokens import TokenSigner, TokenVerifier, subscription_token_make, token_make

SECRET = "s" * 64
PREVIOUS = "p" * 64
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEYS = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
}


def pem(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def config(subscription: dict[str, Any] | None = None, **token: str) -> ClarionConfig:
    client: dict[str, Any] = {"token": token}
    if subscription is not None:
        client["subscription_token"] = subscription
    return config_parse({"client": client})


def claims(**more: Any) -> dict[str, Any]:
    return {"sub": "7", "exp": int(time.time()) + 60, **more}


def hmac_signed(secret: bytes, header: dict[str, Any]) -> str:
    """By hand: PyJWT would not sign with a PEM key as a secret."""
    parts = [json.dumps(part).encode() for part in (header, claims())]
    text = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    mac = hmac.digest(secret, text.encode(), hashlib.sha256)
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512"])
def test_an_rsa_key_verifies_its_algorithms(algorithm: str) -> None:
    """RS256, RS384 and RS512 with client.token.rsa_public_key; another key's token is refused."""
    verifier = TokenVerifier(config(rsa_public_key=pem(RSA_KEY)), "")
    assert verifier.verify_connection(jwt.encode(claims(), RSA_KEY, algorithm)).user == "7"
    other = rsa.generate_private_key(65537, 2048)
    with pytest.raises(TokenInvalid):
        verifier.verify_connection(jwt.encode(claims(), other, algorithm))


@pytest.mark.parametrize("curve", list(EC_KEYS))
@pytest.mark.parametrize("algorithm", list(EC_KEYS))
def test_an_ecdsa_key_verifies_the_algorithm_of_its_curve(curve: str, algorithm: str) -> None:
    """RFC 7518 section 3.4: ES256 is P-256, ES384 is P-384, ES512 is P-521."""
    verifier = TokenVerifier(config(ecdsa_public_key=pem(EC_KEYS[curve])), "")
    token = jwt.encode(claims(), EC_KEYS[algorithm], algorithm)
    if curve == algorithm:
        assert verifier.verify_connection(token).user == "7"
    else:
        with pytest.raises(TokenInvalid):
            verifier.verify_connection(token)


@pytest.mark.parametrize("secret", ["", SECRET])
@pytest.mark.parametrize("header", [{"alg": "HS256"}, {"alg": "HS256", "kid": "1"}, {"alg": "hs256"}])
def test_a_public_key_is_no_hmac_secret(secret: str, header: dict[str, Any]) -> None:
    """Algorithm confusion: whoever has the published RSA key signs HS256 with its text. RFC 8725 section 2.1."""
    text = pem(RSA_KEY)
    verifier = TokenVerifier(config(rsa_public_key=text), secret)
    for forged in (text, text.strip(), text + "\n"):
        with pytest.raises(TokenInvalid):
            verifier.verify_connection(hmac_signed(forged.encode(), header))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "PS256", "EdDSA", "HS1", "RSA256", "\0"])
def test_an_algorithm_that_is_not_named_here_is_refused(algorithm: str) -> None:
    """none, and every other one, whatever keys there are."""
    verifier = TokenVerifier(config(rsa_public_key=pem(RSA_KEY), ecdsa_public_key=pem(EC_KEYS["ES256"])), SECRET)
    for secret in (b"", SECRET.encode()):
        with pytest.raises(TokenInvalid):
            verifier.verify_connection(hmac_signed(secret, {"alg": algorithm}))
    with pytest.raises(TokenInvalid):
        verifier.verify_connection(hmac_signed(SECRET.encode(), {"alg": algorithm}).rpartition(".")[0] + ".")


def test_without_keys_no_token_is_accepted() -> None:
    """An empty secret is no secret."""
    verifier = TokenVerifier(ClarionConfig(), "")
    for token in (hmac_signed(b"", {"alg": "HS256"}), token_make(SECRET, "7")[0]):
        with pytest.raises(TokenInvalid):
            verifier.verify_connection(token)


def test_the_previous_hmac_key_is_accepted_during_rotation() -> None:
    """Tokens of both keys are good until the old one is taken out; new ones are signed with the new key."""
    rotating = config(hmac_previous_secret_key=PREVIOUS)
    verifier = TokenVerifier(rotating, SECRET)
    for secret in (SECRET, PREVIOUS):
        assert verifier.verify_connection(token_make(secret, "7")[0]).user == "7"
        assert verifier.verify_subscription(subscription_token_make(secret, "7", "chat:x")[0]).channel == "chat:x"
    with pytest.raises(TokenExpired):
        verifier.verify_connection(token_make(PREVIOUS, "7", ttl_s=-1)[0])
    with pytest.raises(TokenInvalid):
        verifier.verify_connection(token_make("o" * 64, "7")[0])
    made, _ = TokenSigner(rotating, SECRET).connection("7")
    assert TokenVerifier(ClarionConfig(), SECRET).verify_connection(made).user == "7"


def test_accepted_hmac_keys_sign_nothing() -> None:
    """A rotation begins with the new key among them: gateways know it before the first token of it is made."""
    verifier = TokenVerifier(ClarionConfig(), SECRET, ["n" * 64, PREVIOUS])
    for secret in (SECRET, "n" * 64, PREVIOUS):
        assert verifier.verify_connection(token_make(secret, "7")[0]).user == "7"
        assert verifier.verify_subscription(subscription_token_make(secret, "7", "chat:x")[0]).channel == "chat:x"
    with pytest.raises(TokenInvalid):
        verifier.verify_connection(token_make("o" * 64, "7")[0])


@pytest.mark.parametrize(
    ("audience", "aud", "accepted"),
    [
        ("app", "app", True), ("app", ["other", "app"], True), ("app", "other", False), ("app", ["a", "b"], False),
        ("app", None, False), ("app", [], False), ("app", "", False),
        ("", None, True), ("", "app", False), ("", ["app"], False), ("", [], False),
    ],
)  # fmt: skip
def test_a_token_must_be_for_the_audience(audience: str, aud: Any, accepted: bool) -> None:
    """RFC 7519 section 4.1.3: one that names audiences, and not this one, is refused; also if none is configured."""
    token = jwt.PyJWS().encode(json.dumps(claims(**({} if aud is None else {"aud": aud}))).encode(), SECRET)
    verifier = TokenVerifier(config(audience=audience), SECRET)
    if accepted:
        assert verifier.verify_connection(token).user == "7"
    else:
        with pytest.raises(TokenInvalid, match="another service"):
            verifier.verify_connection(token)


@pytest.mark.parametrize(("iss", "accepted"), [("idp", True), ("other", False), (None, False), ("", False)])
def test_a_token_must_be_of_the_issuer(iss: str | None, accepted: bool) -> None:
    """client.token.issuer is compared as it stands; without one, any issuer will do."""
    token = jwt.encode(claims(**({} if iss is None else {"iss": iss})), SECRET)
    assert TokenVerifier(ClarionConfig(), SECRET).verify_connection(token).user == "7"
    verifier = TokenVerifier(config(issuer="idp"), SECRET)
    if accepted:
        assert verifier.verify_connection(token).user == "7"
    else:
        with pytest.raises(TokenInvalid, match="another issuer"):
            verifier.verify_connection(token)


def test_subscription_tokens_have_the_keys_of_connections_unless_told() -> None:
    """client.subscription_token has keys of its own; with enabled = false the table is as if it were not there."""
    own = {"hmac_secret_key": PREVIOUS}
    by_connection, by_own = (subscription_token_make(secret, "7", "chat:x")[0] for secret in (SECRET, PREVIOUS))
    for table in (None, {**own, "enabled": False}):
        verifier = TokenVerifier(config(table), SECRET)
        assert verifier.verify_subscription(by_connection).channel == "chat:x"
        with pytest.raises(TokenInvalid):
            verifier.verify_subscription(by_own)
    verifier = TokenVerifier(config(own), SECRET)
    assert verifier.verify_subscription(by_own).channel == "chat:x"
    with pytest.raises(TokenInvalid):
        verifier.verify_subscription(by_connection)
    assert verifier.verify_connection(token_make(SECRET, "7")[0]).user == "7"


def test_verify_subscription_reads_every_claim() -> None:
    """Who, which channel, until when, what others see, what the client gets, which options hold otherwise."""
    override = {"force_recovery": {"value": True}, "force_positioning": {"value": False}}
    token = jwt.encode(claims(channel="chat:x", info={"a": 1}, data=[2], override=override), SECRET)
    read = TokenVerifier(ClarionConfig(), SECRET).verify_subscription(token)
    assert (read.user, read.channel, read.info, read.data) == ("7", "chat:x", {"a": 1}, [2])
    assert read.expires_at > time.time()
    assert read.override is not None
    assert read.override.force_recovery is not None
    assert read.override.force_recovery.value
    assert read.override.presence is None


@pytest.mark.parametrize(
    "more", [{}, {"channel": ""}, {"channel": "a b"}, {"channel": 7}, {"channel": "x", "info": 2**65}]
)
def test_verify_subscription_refuses_a_wrong_form(more: dict[str, Any]) -> None:
    """A connection token is no subscription token: that one names its channel."""
    with pytest.raises(TokenInvalid):
        TokenVerifier(ClarionConfig(), SECRET).verify_subscription(
            jwt.PyJWS().encode(json.dumps(claims(**more)).encode(), SECRET)
        )


def test_a_signer_signs_what_the_verifier_of_the_same_configuration_accepts() -> None:
    """Keys, audience and issuer come from one file."""
    same = config({"hmac_secret_key": PREVIOUS, "audience": "subs"}, audience="app", issuer="clarion")
    signer, verifier = TokenSigner(same, SECRET), TokenVerifier(same, SECRET)
    assert verifier.verify_connection(signer.connection("7", channels=("chat:x",), info=1)[0]).channels == ("chat:x",)
    token, expires_at = signer.subscription("", "chat:x", ttl_s=60, info={"a": 1})
    read = verifier.verify_subscription(token)
    assert (read.user, read.channel, read.expires_at, read.info) == ("", "chat:x", expires_at, {"a": 1})
    with pytest.raises(NameInvalid):
        signer.subscription("7", "a b")


def test_a_signer_without_an_hmac_key_says_so() -> None:
    """A deployment whose tokens come from an identity provider makes none itself."""
    signer = TokenSigner(config(rsa_public_key=pem(RSA_KEY)), "")
    for make in (lambda: signer.connection("7"), lambda: signer.subscription("7", "chat:x")):
        with pytest.raises(NotAvailable):
            make()
