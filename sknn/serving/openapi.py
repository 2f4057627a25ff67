"""The OpenAPI document: FastAPI's, with the fields of the present model, and what a request may be refused for."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from sknn.serving.deployment import Deployment
from sknn.serving.limits import HEALTH
from sknn.serving.messages import Refusal
from sknn.serving.open_inference import InferenceRequest
from sknn.serving.options import ServingOptions
from sknn.serving.served_model import ServedModel
from sknn.serving.tables import CSV, PARQUET

JSON = "application/json"
REFERENCE = "#/components/schemas/{model}"
BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
FILES = {CSV: {"schema": {"type": "string"}}, PARQUET: BINARY}
REFUSALS = {
    400: "The body can't be read.",
    401: "The service has a token, and the request has not.",
    404: "There is no such model, or no such version.",
    408: "The body did not arrive in time.",
    413: "The body has too many bytes or rows.",
    415: "The content type is unknown.",
    422: "A field is unknown, absent or of another type.",
    503: "The service is busy; the request may come again.",
}
OF_BODIES = (400, 401, 408, 413, 422, 503)  # what each request with a body may be refused for


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's description of refused requests."""
    return {status: {"model": Refusal, "description": REFUSALS[status]} for status in statuses}


def openapi_document(app: FastAPI, options: ServingOptions, deployment: Deployment) -> dict[str, Any]:
    """Return the document for a model."""
    model = deployment.model
    document = get_openapi(
        title=f"Predictions of {model.name}",
        version=model.version,
        description=f"The API of an sknn model. Its version is {model.version}.",
        routes=app.routes,
    )
    components, paths = document["components"], document["paths"]
    rows, row_schemas = model.schema.json_schema(REFERENCE)
    tensors = TypeAdapter(InferenceRequest).json_schema(ref_template=REFERENCE)
    for unused in ("HTTPValidationError", "ValidationError"):  # FastAPI's own refusal, instead of which ours is sent
        components["schemas"].pop(unused, None)
    components["schemas"] |= row_schemas | tensors.pop("$defs")
    components["schemas"]["Label"]["properties"]["label"] |= _label_schema(model)
    _set_body(paths["/predict"]["post"], {JSON: {"schema": rows}, **FILES})
    for path, methods in paths.items():
        if path.endswith("/infer"):
            _set_body(methods["post"], {JSON: {"schema": tensors}})
            methods["post"]["parameters"] = _model_parameters(path)
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path":
                    parameter["schema"] = {"type": "string", "enum": [getattr(model, parameter["name"])]}
    if options.token is not None:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path, methods in paths.items():
            for operation in methods.values():
                operation["security"] = [] if path.startswith(HEALTH) else [{"token": []}]
    return document


def _model_parameters(path: str) -> list[dict[str, Any]]:
    """Return the parameters in a path, for a function that takes them from the path itself."""
    return [{"name": name, "in": "path", "required": True} for name in ("name", "version") if f"{{{name}}}" in path]


def _label_schema(model: ServedModel) -> dict[str, Any]:
    """Return what a true label may be: a class, or a number for each output of a regressor."""
    if model.classes is not None:
        return {"anyOf": [{"enum": model.predictor.classes_.tolist()}]}
    return {"anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}}]}


def _set_body(operation: dict[str, Any], content: dict[str, Any]) -> None:
    operation["requestBody"] = {"required": True, "content": content}
