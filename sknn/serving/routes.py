"""The routes of the service, but for those of the Open Inference Protocol."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, PlainTextResponse
from pydantic import Field
from pydantic_core import to_json

from sknn.serving.deployment import Deployment
from sknn.serving.errors import RequestError
from sknn.serving.messages import (
    ColumnsResponse,
    FeedbackResponse,
    IgnoredLabel,
    Label,
    ModelResponse,
    MonitorResponse,
    RecordsResponse,
)
from sknn.serving.openapi import FILES, JSON, OF_BODIES, refusals
from sknn.serving.responses import as_columns, as_records, as_table
from sknn.serving.served_model import Predictions
from sknn.serving.service import PredictionService
from sknn.serving.tables import CSV, PARQUET, read_file, write_file

MEDIA_TYPES = (JSON, CSV, PARQUET)
PAGE = Path(__file__).parent / "page"
SMALL_BODY = 16 * 1024  # bytes; larger ones are answered in a thread, so that they do not hold up the small ones
MEMBERS = {
    "parameters": [
        {
            "name": "members",
            "in": "query",
            "required": False,
            "description": "Whether the answer to records has what each member of the ensemble says.",
            "schema": {"type": "boolean", "default": False},
        }
    ]
}
MAX_LABELS = 10_000  # of one request
# The page loads nothing from elsewhere, and no other page may show it.
PAGE_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src data:; frame-ancestors 'none'",
    "cache-control": "no-cache",
}


def make_router(service: PredictionService) -> APIRouter:
    """Return the routes."""
    router = APIRouter()

    answers: dict[int | str, Any] = {200: {"model": RecordsResponse | ColumnsResponse, "content": FILES}}

    @router.post("/predict", tags=["predictions"], responses=answers | refusals(*OF_BODIES, 415), openapi_extra=MEMBERS)
    async def predict(request: Request) -> Response:
        """Predict rows: a list of records, an object of columns, or a CSV or Parquet file."""
        media_type = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
        encoding = request.headers.get("content-encoding", "identity")
        if media_type not in MEDIA_TYPES or encoding != "identity":
            known = ", ".join(MEDIA_TYPES)
            message = f"Content of type {media_type!r}, encoded as {encoding!r}, can't be read; send {known}, unencoded"
            raise RequestError(415, message)
        members = request.query_params.get("members", "false")
        if members not in ("false", "true"):
            raise RequestError(422, f"The parameter members={members!r} has to be true or false", "members")
        body = await request.body()
        if media_type == JSON:
            return await answer_json(service, body, members == "true")
        return await asyncio.to_thread(answer_file, service, body, media_type)

    @router.post("/feedback", tags=["predictions"], responses=refusals(*OF_BODIES))
    async def feedback(labels: Annotated[list[Label], Field(min_length=1, max_length=MAX_LABELS)]) -> FeedbackResponse:
        """Report what turned out to be true. The last 100,000 predictions of the model can be labelled."""
        return add_labels(service, labels)

    @router.get("/model", tags=["model"], responses=refusals(401, 503))
    async def model() -> ModelResponse:
        """Describe the model in service."""
        return describe_model(service.deployment)

    @router.get("/monitor", tags=["model"], responses=refusals(401, 503))
    def monitor() -> MonitorResponse:
        """Describe what the service has seen: drift, live scores and times."""
        return describe_monitor(service)

    @router.get("/metrics", tags=["model"], responses=refusals(401, 503), response_class=PlainTextResponse)
    def metrics() -> Response:
        """Return everything in the text format of Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @router.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers=PAGE_HEADERS)

    return router


async def answer_json(service: PredictionService, body: bytes, with_members: bool) -> Response:
    """Answer records with records, and columns with columns."""
    deployment = service.deployment
    if with_members and not deployment.model.has_members:
        raise RequestError(422, "The graph does not have the members; export it with members=True", "members")
    if len(body) > SMALL_BODY:
        return await asyncio.to_thread(_answer_large_json, service, deployment, body, with_members)
    columns = deployment.model.schema.read(body)
    predictions = await deployment.batcher.predict(columns)
    return _write_json(service, deployment, body, predictions, with_members)


def _answer_large_json(service: PredictionService, deployment: Deployment, body: bytes, with_members: bool) -> Response:
    columns = deployment.model.schema.read(body)
    return _write_json(service, deployment, body, deployment.predict(columns), with_members)


def _write_json(
    service: PredictionService, deployment: Deployment, body: bytes, predictions: Predictions, with_members: bool
) -> Response:
    service.metrics.count_rows(len(predictions.values))
    ids = deployment.recent.add(predictions)
    if body.lstrip()[:1] == b"[":
        response = as_records(deployment.model, predictions, ids, with_members)
    else:
        response = as_columns(deployment.model, predictions, ids)
    return Response(to_json(response, inf_nan_mode="null"), media_type=JSON)


def answer_file(service: PredictionService, body: bytes, media_type: str) -> Response:
    """Answer a file with a file of the same type."""
    deployment = service.deployment
    columns = read_file(body, media_type, deployment.model.fields, service.options.max_rows)
    predictions = deployment.predict(columns)
    service.metrics.count_rows(len(predictions.values))
    table = as_table(deployment.model, predictions, deployment.recent.add(predictions))
    return Response(write_file(table, media_type), media_type=media_type)


def add_labels(service: PredictionService, labels: list[Label]) -> FeedbackResponse:
    """Count true labels."""
    recent, ignored = service.deployment.recent, []
    for row, label in enumerate(labels):
        try:
            recent.check_label(label.label)
        except ValueError as error:
            raise RequestError(422, str(error), "label", row) from None
    for label in labels:
        reason = recent.add_label(label.id, label.label)
        if reason is not None:
            ignored.append(IgnoredLabel(id=label.id, reason=reason))
    return FeedbackResponse(accepted=len(labels) - len(ignored), ignored=ignored)


def describe_model(deployment: Deployment) -> ModelResponse:
    """Return the name, the fields and the card of the model."""
    model = deployment.model
    return ModelResponse(
        name=model.name,
        version=model.version,
        digest=model.digest,
        task=model.task,
        classes=model.classes,
        fields=[asdict(field) | {"may_be_missing": field.may_be_missing} for field in model.fields],
        example=model.example,
        has_members=model.has_members,
        member_weights=model.member_weights,
        card=model.card,
    )


def describe_monitor(service: PredictionService) -> MonitorResponse:
    """Return the drift of the window, the live scores, and the times of the last predictions."""
    deployment = service.deployment
    report = deployment.monitor.report()
    return MonitorResponse(
        rows=deployment.monitor.n_rows(),
        window_seconds=service.options.window,
        drift=None if report is None else report.to_dict(),
        scores=deployment.recent.scores(),
        latency=service.metrics.latency(),
    )
