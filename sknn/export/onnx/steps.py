"""The steps of a fitted pipeline."""

from collections.abc import Iterator
from typing import Any

from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from sknn.estimators.frozen_ensemble import FrozenEnsemble
from sknn.preprocessing.tables import is_frame


def unwrap(model: Any) -> Any:
    """Return the best estimator of a search, and pipelines without their empty steps."""
    model = getattr(model, "best_estimator_", model)
    if not isinstance(model, Pipeline):
        return model
    return Pipeline([(name, unwrap(step)) for name, step in model.steps if step not in (None, "passthrough")])


def leaf_steps(model: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield name and step for each leaf of pipelines, column transformers and feature unions."""
    children = [
        *(getattr(model, "steps", None) or []),
        *((name, step) for name, step, _ in getattr(model, "transformers_", [])),
        *(getattr(model, "transformer_list", None) or []),
        *((str(i), each) for i, each in enumerate(model.estimators if isinstance(model, FrozenEnsemble) else [])),
    ]
    if not children:
        yield name or type(model).__name__, model
    for child_name, child in children:
        if not isinstance(child, str) and child is not None:
            yield from leaf_steps(child, f"{name}__{child_name}" if name else child_name)


def fitted_transformers(model: Any) -> list[tuple[tuple, Any, list[int]]]:
    """Return the entries of a ColumnTransformer's `transformers_`, each with its transformer and column indices."""
    indices = model._transformer_to_input_indices
    return [(entry, entry[1], list(indices[entry[0]])) for entry in model.transformers_]


def is_passthrough(step: Any) -> bool:
    """Return whether a step changes nothing.

    A fitted ColumnTransformer replaces "passthrough" by a FunctionTransformer without func.
    """
    return step in (None, "passthrough") or (isinstance(step, FunctionTransformer) and step.func is None)


def columns_of_fit(model: Any, X: Any) -> Any:
    """Return a frame's columns in the order of the fit.

    A ColumnTransformer also takes frames with its columns in another order, and with additional columns.

    Raises
    ------
    ValueError
        If columns are missing.
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
