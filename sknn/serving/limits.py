"""Limits on the requests: their number at one time, their size, and the time that a client takes to send one."""

import asyncio
from typing import Any

from sknn.serving.errors import RequestError
from sknn.serving.options import ServingOptions

HEALTH = "/v2/health/"  # these routes are open to everyone, at any time


class Limits:
    """ASGI middleware that refuses what is too much.

    Parameters
    ----------
    app : callable
    options : ServingOptions
    """

    def __init__(self, app: Any, options: ServingOptions) -> None:
        self._app, self._options = app, options
        self._n_requests = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"].startswith(HEALTH):
            await self._app(scope, receive, send)
            return
        if self._n_requests >= self._options.max_requests:
            message = f"The service is busy with {self._n_requests} requests; try again in a second"
            raise RequestError(503, message, headers={"retry-after": "1"})
        self._check_announced_size(scope)
        self._n_requests += 1
        try:
            await self._app(scope, self._limit(receive), send)
        finally:
            self._n_requests -= 1

    def _check_announced_size(self, scope: Any) -> None:
        for name, value in scope["headers"]:
            if name == b"content-length":
                self._check_size(int(value))

    def _check_size(self, n_bytes: int) -> None:
        if n_bytes > self._options.max_bytes:
            limit = self._options.max_bytes
            message = f"The body has more than {limit:,} bytes; send fewer rows at once, or columns instead of records"
            raise RequestError(413, message, headers={"connection": "close"})

    def _limit(self, receive: Any) -> Any:
        """Return `receive` with a limit on the bytes and the seconds of the whole body."""
        n_bytes, is_complete = 0, False
        deadline = asyncio.get_running_loop().time() + self._options.timeout

        async def limited() -> Any:
            nonlocal n_bytes, is_complete
            if is_complete:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                text = f"The body did not arrive within {self._options.timeout:g} seconds"
                raise RequestError(408, text, headers={"connection": "close"}) from None
            n_bytes += len(message.get("body", b""))
            self._check_size(n_bytes)
            is_complete = not message.get("more_body", False)
            return message

        return limited
