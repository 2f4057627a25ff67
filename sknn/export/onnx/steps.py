"""The steps of a pipeline."""

from collections.abc import Iterator
from typing import Any

from sklearn.pipeline import Pipeline

from sknn.preprocessing.tables import is_frame


def plain(model: Any) -> Any:
    """The model without what only chose it or does nothing: a search around it, empty steps of a pipeline."""
    model = getattr(model, "best_estimator_", model)
    if not isinstance(model, Pipeline):
        return model
    return Pipeline([(name, plain(step)) for name, step in model.steps if step not in (None, "passthrough")])


def final_of(model: Any) -> Any:
    """The last step of a pipeline, or the model itself."""
    return final_of(model.steps[-1][1]) if isinstance(model, Pipeline) else model


def columns_of_fit(model: Any, X: Any) -> Any:
    """A frame's columns as the fit saw them: a ColumnTransformer takes them in any order, and beside others.

    Raises
    ------
    ValueError
        If some are missing.
    """
    names = list(getattr(model, "feature_names_in_", ()))
    if not names or not is_frame(X) or list(X.columns) == names:
        return X
    missing = [name for name in names if name not in X.columns]
    if missing:
        raise ValueError(
            f"X_sample lacks columns that the model was fitted with: {missing}; give rows of the training table."
        )
    return X[names]


def steps_of(model: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of pipelines, column transformers and feature unions, by name."""
    children = [
        *(getattr(model, "steps", None) or []),
        *((name, step) for name, step, _ in getattr(model, "transformers_", [])),
        *(getattr(model, "transformer_list", None) or []),
    ]
    if not children:
        yield name or type(model).__name__, model
    for child_name, child in children:
        if not isinstance(child, str) and child is not None:
            yield from steps_of(child, f"{name}__{child_name}" if name else child_name)
