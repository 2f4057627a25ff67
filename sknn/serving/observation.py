"""What is seen of each request: metrics, a line of the log, and an answer in JSON whatever goes wrong."""

import logging
import time
import traceback
from typing import Any

from pydantic_core import to_json
from starlette.requests import ClientDisconnect

from sknn.serving.errors import RequestError
from sknn.serving.metrics import CLIENT_LEFT, Metrics

log = logging.getLogger("sknn.serving.requests")
UNKNOWN = "other"  # the route of the page, its files and unknown paths


class Observation:
    """ASGI middleware around all others.

    Parameters
    ----------
    app : callable
    metrics : Metrics
    """

    def __init__(self, app: Any, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, start = 0, time.perf_counter()

        async def observed(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, observed)
        except ClientDisconnect:
            status = CLIENT_LEFT
        except Exception as error:
            refusal = error if isinstance(error, RequestError) else _internal_error(error)
            if status:  # the response has begun, and can only be broken off
                raise
            await _respond(refusal, observed)
        finally:
            self._metrics.in_flight.dec()
            self._record(scope, status or CLIENT_LEFT, time.perf_counter() - start)

    def _record(self, scope: Any, status: int, seconds: float) -> None:
        # The route as it was declared: a path may hold anything, and would make a metric for each.
        route = getattr(scope.get("route"), "path", UNKNOWN)
        self._metrics.record_request(route, status, seconds)
        if log.isEnabledFor(logging.INFO):
            facts = {"method": scope["method"], "route": route, "status": status, "seconds": round(seconds, 6)}
            log.info("request", extra=facts)


def _internal_error(error: Exception) -> RequestError:
    """Log where an error comes from, without its message, which may hold data."""
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{frame.filename}:{frame.lineno}" for frame in frames[-5:]]
    log.error("internal error", extra={"type": type(error).__name__, "where": where})
    return RequestError(500, "The service has failed to answer; its log says where")


async def _respond(error: RequestError, send: Any) -> None:
    body = to_json(error.body())
    headers = {"content-type": "application/json", "content-length": str(len(body)), **error.headers}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
