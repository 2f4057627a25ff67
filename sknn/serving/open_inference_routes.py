"""The routes of the Open Inference Protocol, version 2."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

import sknn
from sknn.serving.deployment import Deployment
from sknn.serving.errors import RequestError
from sknn.serving.open_inference import (
    BINARY_TYPE,
    JSON_LENGTH,
    InferenceResponse,
    datatype,
    read_inference,
    write_inference,
)
from sknn.serving.openapi import BINARY, OF_BODIES, refusals
from sknn.serving.records import check_n_rows
from sknn.serving.routes import SMALL_BODY
from sknn.serving.service import PredictionService


class Health(BaseModel):
    """Whether the service lives, or is ready."""

    live: bool = True


class Ready(BaseModel):
    """Whether a model is ready."""

    name: str
    ready: bool = True


class Server(BaseModel):
    """The service."""

    name: str = "sknn"
    version: str = sknn.__version__
    extensions: list[str] = ["binary_tensor_data"]


class Tensor(BaseModel):
    """An input or output of the graph. The size of its rows' dimension, -1, varies."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """The inputs and outputs of a model."""

    model_config = ConfigDict(protected_namespaces=())
    name: str
    versions: list[str]
    platform: str = "onnx_onnxruntime"
    inputs: list[Tensor]
    outputs: list[Tensor]


def make_open_inference_router(service: PredictionService) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])
    of_model = refusals(401, 404, 503)
    of_infer: Any = {200: {"model": InferenceResponse, "content": {BINARY_TYPE: BINARY}}, **refusals(*OF_BODIES, 404)}

    @router.get("", responses=refusals(401, 503))
    async def server() -> Server:
        """Name the service and the extensions of the protocol that it knows."""
        return Server()

    @router.get("/health/live")
    async def live() -> Health:
        """Answer if the process lives."""
        return Health()

    @router.get("/health/ready")
    async def ready() -> Health:
        """Answer if the service takes requests: a model is loaded and has passed its self-check."""
        return Health()

    @router.get("/models/{name}/ready", responses=of_model)
    @router.get("/models/{name}/versions/{version}/ready", responses=of_model)
    async def model_ready(name: str, version: str | None = None) -> Ready:
        """Answer if a model is ready."""
        find(service, name, version)
        return Ready(name=name)

    @router.get("/models/{name}", responses=of_model)
    @router.get("/models/{name}/versions/{version}", responses=of_model)
    async def metadata(name: str, version: str | None = None) -> ModelMetadata:
        """Describe the inputs and outputs of a model."""
        return describe_tensors(find(service, name, version))

    @router.post("/models/{name}/infer", responses=of_infer)
    @router.post("/models/{name}/versions/{version}/infer", responses=of_infer)
    async def infer(request: Request) -> Response:
        """Run the graph on tensors, in JSON or binary."""
        deployment = find(service, request.path_params["name"], request.path_params.get("version"))
        body, json_length = await request.body(), request.headers.get(JSON_LENGTH)
        if len(body) <= SMALL_BODY:
            return answer_inference(service, deployment, body, json_length)
        return await asyncio.to_thread(answer_inference, service, deployment, body, json_length)

    return router


def find(service: PredictionService, name: str, version: str | None) -> Deployment:
    """Return the deployment of a model."""
    deployment = service.deployment
    model = deployment.model
    if name != model.name:
        raise RequestError(404, f"There is no model {name!r} here, but {model.name!r}", "name")
    if version not in (None, model.version):
        raise RequestError(404, f"There is no version {version!r} of {name!r} here, but {model.version!r}", "version")
    return deployment


def describe_tensors(deployment: Deployment) -> ModelMetadata:
    """Return the inputs and outputs of the graph."""
    model = deployment.model
    inputs = [
        Tensor(name=tensor.name, datatype=datatype(tensor.dtype), shape=[-1, *sizes(tensor)])
        for tensor in model.predictor.inputs
    ]
    outputs = [
        Tensor(name=tensor.name, datatype=datatype(tensor.dtype), shape=sizes(tensor))
        for tensor in model.predictor.outputs
        if tensor.dtype is not None
    ]
    return ModelMetadata(name=model.name, versions=[model.version], inputs=inputs, outputs=outputs)


def sizes(tensor: Any) -> list[int]:
    """Return the sizes of a tensor's dimensions; -1 for one that varies."""
    return [-1 if size is None else size for size in tensor.shape]


def answer_inference(
    service: PredictionService, deployment: Deployment, body: bytes, json_length: str | None
) -> Response:
    """Run the graph."""
    model = deployment.model
    inference = read_inference(body, json_length, model.predictor.inputs)
    columns = model.columns(inference.tensors)
    try:
        check_n_rows(len(next(iter(columns.values()))), service.options.max_rows)
        predictions = deployment.predict(columns)
    except RequestError as error:
        error.status = 400 if error.status == 422 else error.status  # the protocol's status for a bad request
        raise
    service.metrics.count_rows(len(predictions.values))
    content, headers = write_inference(inference.request, predictions.raw, model.name, model.version)
    return Response(content, headers=headers)
