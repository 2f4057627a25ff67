"""The service as a FastAPI application."""

import functools
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from sknn.serving.authorization import Authorization
from sknn.serving.errors import RequestError
from sknn.serving.limits import Limits
from sknn.serving.metrics import PREDICTIONS
from sknn.serving.observation import Observation
from sknn.serving.open_inference_routes import make_open_inference_router
from sknn.serving.openapi import openapi_document
from sknn.serving.routes import PAGE, make_router
from sknn.serving.service import PredictionService


def create_app(service: PredictionService, lifespan: Any = None) -> FastAPI:
    """Return the application.

    Parameters
    ----------
    service : PredictionService
    lifespan : context manager factory, optional
        What goes on beside the requests.
    """
    app = FastAPIOffline(
        redoc_url=None,
        swagger_ui_parameters={"defaultModelsExpandDepth": -1},  # the list of all schemas is long
        lifespan=lifespan,
        exception_handlers={HTTPException: _refuse_http, RequestValidationError: _refuse_invalid},
        middleware=[  # the first is the outermost
            Middleware(Observation, metrics=service.metrics),
            Middleware(Authorization, token=service.options.token),
            Middleware(Limits, options=service.options),
        ],
    )
    for router in (make_router(service), make_open_inference_router(service)):
        for route in router.routes:
            if isinstance(route, APIRoute) and route.path in PREDICTIONS:
                app.router.routes.append(DirectRoute(route.path, route.endpoint, methods=["POST"]))
        app.include_router(router)
    app.mount("/page", StaticFiles(directory=PAGE))
    document = functools.lru_cache(maxsize=1)(functools.partial(openapi_document, app, service.options))
    app.openapi = lambda: document(service.deployment)  # type: ignore[method-assign]
    return app


class DirectRoute(Route):
    """A route to a function that reads the request itself.

    FastAPI spends 90 microseconds on the parameters of a function, as long as a prediction takes. Its own route for
    the same path comes after this one: it is not reached, and describes the path in the OpenAPI document.
    """

    def matches(self, scope: Any) -> Any:
        match, found = super().matches(scope)
        return match, {**found, "route": self}


def _refuse_http(request: Any, error: HTTPException) -> Any:
    """Pass on Starlette's refusals (404, 405) in the form of all others.

    FastAPI makes a refusal of whatever goes wrong while it reads a body. Too long and too slow ones are no bad JSON.
    """
    if isinstance(error.__cause__, RequestError | ClientDisconnect):
        raise error.__cause__
    raise RequestError(error.status_code, error.detail, headers=dict(error.headers or {}))


def _refuse_invalid(request: Any, error: RequestValidationError) -> Any:
    """Pass on FastAPI's refusals of a body or a parameter in the form of all others."""
    mistake = error.errors()[0]
    if mistake["type"] == "json_invalid":
        raise RequestError(400, "The body is not valid JSON")
    where, *place = mistake["loc"]
    row = next((part for part in place if isinstance(part, int)), None)
    field = next((part for part in place if isinstance(part, str)), None)
    raise RequestError(422, f"The {where} is not valid: {mistake['msg']}", field, row)
