"""The last step of a pipeline."""

from typing import Any

from sklearn.pipeline import Pipeline


def final_step(model: Any) -> tuple[str, Any]:
    """Return the prefix of the parameters of the last step, and that step: the model itself if it is no pipeline."""
    prefix = ""
    while isinstance(model, Pipeline) and model.steps:
        name, model = model.steps[-1]
        prefix += f"{name}__"
    return prefix, model


def final_estimator(model: Any) -> Any:
    """Return the last step of a pipeline, or the model itself."""
    return final_step(model)[1]
