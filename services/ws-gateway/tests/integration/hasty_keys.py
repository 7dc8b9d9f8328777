"""The gateway's application, with keys of a JWKS endpoint that are old after a second: ten minutes are long for a test.

``python -m clarion.server hasty_keys:application``, with this folder on the path.
"""

from clarion.tokens import jwks

vars(jwks).update(FRESH_S=1.0, RETRY_S=0.0)

from ws_gateway.asgi import application as application  # noqa: E402 - after the patch
