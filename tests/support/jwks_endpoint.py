"""A JWKS endpoint that rotates, fails and hangs on demand; keys for its sets, and tokens signed with them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from clarion.tokens.algorithms import jws

ONE, TWO = (rsa.generate_private_key(65537, 2048) for _ in range(2))
CURVE = ec.generate_private_key(ec.SECP256R1())


def entry(key: Any, kid: str | None, **more: Any) -> dict[str, Any]:
    """A public key as one entry of a set."""
    algorithm: Any = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    public = json.loads(algorithm.to_jwk(key.public_key()))
    return {**{name: value for name, value in public.items() if name != "key_ops"}, "kid": kid, **more}


def signed(key: Any, kid: str | None, algorithm: str = "RS256", **claims: Any) -> str:
    """A token that is good for a minute, of user 7 unless the claims say otherwise."""
    headers = {} if kid is None else {"kid": kid}
    payload = json.dumps({"sub": "7", "exp": int(time.time()) + 60, **claims}).encode()
    return jws.encode(payload, key, algorithm, headers=headers)  # ours: PyJWT's signs no HS256 with a public key


class JwksEndpoint:
    """An HTTP server with one document.

    Attributes:
        asked: how often it was asked.
        gate: while it is cleared, answers wait.
    """

    def __init__(self) -> None:
        self.body = b""
        self.status = 200
        self.gate = threading.Event()
        self.gate.set()
        self.asked = 0
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                endpoint.asked += 1
                status, body = endpoint.status, endpoint.body
                endpoint.gate.wait(20)
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", endpoint.url + "other")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def serve(self, *entries: dict[str, Any]) -> None:
        """Answer with a set of these keys from now on."""
        self.body = json.dumps({"keys": entries}).encode()

    def stop(self) -> None:
        """End it."""
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(20)


@contextmanager
def jwks_endpoint() -> Iterator[JwksEndpoint]:
    """An endpoint with the RSA key ``one`` and the EC key ``curve``, for the length of a ``with`` block."""
    endpoint = JwksEndpoint()
    endpoint.serve(entry(ONE, "one"), entry(CURVE, "curve", alg="ES256", use="sig"))
    try:
        yield endpoint
    finally:
        endpoint.stop()
