"""The JSON objects of requests and responses, as the OpenAPI document describes them.

Those of the Open Inference Protocol lie in `open_inference`, and those of a model's rows are made in `records`.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

Value = float | int | bool | str


class Refusal(BaseModel):
    """Why a request was refused."""

    error: str = Field(description="What is wrong, and what to send instead.")
    field: str | None = Field(None, description="The column or parameter at fault.")
    row: int | None = Field(None, description="The row at fault, counted from 0.")


class RecordPrediction(BaseModel):
    """What the model says about one row."""

    id: str = Field(description="With it, the true label can be reported to /feedback.")
    prediction: Value | list[Value]
    probabilities: dict[str, float] | None = Field(None, description="Of each class; absent for a regressor.")
    spread: float | None = Field(
        None,
        description="The weighted standard deviation over the members of the ensemble, the largest one over the "
        "classes or outputs. Absent if the graph does not have the members.",
    )
    members: list[dict[str, float] | list[float]] | None = Field(
        None, description="What each member says, if asked for."
    )


class RecordsResponse(BaseModel):
    """The answer to records."""

    model: str
    version: str
    predictions: list[RecordPrediction]


class ColumnsResponse(BaseModel):
    """The answer to columns."""

    model: str
    version: str
    id: list[str]
    prediction: list[Value | list[Value]]
    probabilities: dict[str, list[float]] | None = None
    spread: list[float] | None = None


class Label(BaseModel):
    """What turned out to be true."""

    model_config = ConfigDict(extra="forbid", strict=True)
    id: str = Field(description="The id of the prediction.", max_length=100)
    label: Value | list[float] = Field(description="The class, or the value; a list if the model has several outputs.")


class IgnoredLabel(BaseModel):
    """A label that is not counted."""

    id: str
    reason: str


class FeedbackResponse(BaseModel):
    """How many labels are counted."""

    accepted: int
    ignored: list[IgnoredLabel]


class ModelResponse(BaseModel):
    """The model in service."""

    model_config = ConfigDict(protected_namespaces=())
    name: str
    version: str
    digest: str = Field(description="The SHA-256 digest of the ONNX graph.")
    task: str | None
    classes: list[str] | None
    fields: list[dict[str, Any]]
    example: dict[str, Any]
    has_members: bool = Field(description="Whether the graph has what each member of the ensemble says.")
    member_weights: list[float] | None = Field(
        description="The share of each member in the predictions; null if all members count equally."
    )
    card: dict[str, str] = Field(description="What the model was trained on, and how, in words.")


class MonitorResponse(BaseModel):
    """What the service has seen."""

    rows: int = Field(description="All rows that were counted, also before a restart.")
    window_seconds: float
    drift: dict[str, Any] | None = Field(description="Of the window; null if the model does not describe its data.")
    scores: dict[str, float] = Field(description="Of the labels that arrived within the window.")
    latency: dict[str, float] = Field(description="Seconds that half, and 99 %, of the last predictions took at most.")
