"""The token that clients have to send, as a bearer token or, from a browser, as the password of any user."""

import base64
import binascii
import hmac
from pathlib import Path
from typing import Any

from sknn.serving.errors import RequestError
from sknn.serving.limits import HEALTH

# Bearer is for programs; Basic makes a browser ask for a password, so that a person can open the page.
CHALLENGE = {"www-authenticate": 'Bearer realm="sknn", Basic realm="sknn", charset="UTF-8"'}
MIN_LENGTH = 8


class Authorization:
    """ASGI middleware that lets through only requests with the token; questions about health need none.

    Parameters
    ----------
    app : callable
    token : str or None
        None lets everything through.
    """

    def __init__(self, app: Any, token: str | None) -> None:
        self._app = app
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        needs_token = self._token is not None and scope["type"] != "lifespan" and not scope["path"].startswith(HEALTH)
        if needs_token and not self._is_authorized(scope):
            message = "A token is needed: send the header Authorization: Bearer TOKEN"
            raise RequestError(401, message, headers=CHALLENGE)
        await self._app(scope, receive, send)

    def _is_authorized(self, scope: Any) -> bool:
        header = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, credentials = header.partition(b" ")
        read = SCHEMES.get(scheme.lower())
        # compare_digest takes the same time wherever the first difference is, so that nobody finds the token by timing.
        return read is not None and hmac.compare_digest(read(credentials.strip()), self._token or b"")


def read_token(path: Path) -> str:
    """Return the token in a file, without the white space around it.

    Raises
    ------
    ValueError
        If it has fewer than 8 characters, or white space within.
    """
    token = path.read_text(encoding="utf-8").strip()
    if len(token) < MIN_LENGTH or len(token.split()) != 1:
        raise ValueError(
            f"--token-file {path} has to hold one word of at least {MIN_LENGTH} characters; make one with: "
            "python -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    return token


def _password(credentials: bytes) -> bytes:
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


SCHEMES = {b"bearer": lambda credentials: credentials, b"basic": _password}
