"""A saved model, `.sknn` or `.onnx`, as the commands see it: its columns, their kinds, its classes and its target."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sknn
from sknn.cli.tables import CATEGORY, NUMBER, read_table
from sknn.utils.text import did_you_mean


@dataclass(frozen=True)
class SavedModel:
    """A model that predicts tables.

    Attributes
    ----------
    predictor : estimator or OnnxPredictor
    columns : list of str or None
        The names of its columns; None if it was fitted without names.
    kinds : dict of str to {'number', 'category'}
        What its columns hold; empty if the model does not say.
    classes : list or None
        The labels of a classifier.
    target : str or None
        The name of what it predicts, if it is known.
    """

    predictor: Any
    columns: list[str] | None
    kinds: dict[str, str]
    classes: list[Any] | None
    target: str | None

    def read(self, path: Path, target: str | None = None) -> Any:
        """Return a table whose columns are read as the model's columns, and its target as the model's classes."""
        kinds = dict(self.kinds)
        types = {type(label) for label in self.classes or [0.0]}
        if target is not None and types == {str}:
            kinds[target] = CATEGORY
        elif target is not None and types <= {int, float}:  # True and False are read without help
            kinds[target] = NUMBER
        return read_table(path, kinds)

    def select(self, frame: Any, path: Path) -> Any:
        """Return the model's columns of a table in their order, or an array if the model has no names."""
        if self.columns is None:
            return frame.to_numpy()
        missing = [name for name in self.columns if name not in frame.columns]
        if missing:
            hint = did_you_mean(missing[0], [name for name in frame.columns if name not in self.columns])
            raise ValueError(f"{path} lacks columns of the model: {', '.join(map(repr, missing))}.{hint}")
        return frame[self.columns]


def load_model(path: Path) -> SavedModel:
    """Return the model of a file: an exported one if its name ends in .onnx, else one that `sknn.save` has written."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give a .sknn or .onnx file")
    return _load_onnx(path) if path.suffix == ".onnx" else _load_estimator(path)


def _load_onnx(path: Path) -> SavedModel:
    predictor = sknn.OnnxPredictor(path)
    metadata = predictor.metadata
    names = getattr(predictor, "feature_names_in_", None)
    features = metadata["features"] if metadata.get("named") else []
    return SavedModel(
        predictor,
        None if names is None else list(names),
        {feature["name"]: CATEGORY if feature["type"] == "string" else NUMBER for feature in features},
        metadata.get("classes"),
        metadata.get("target"),
    )


def _load_estimator(path: Path) -> SavedModel:
    model = sknn.load(path)
    names = getattr(model, "feature_names_in_", None)
    classes = getattr(model, "classes_", None)
    return SavedModel(
        model,
        None if names is None else list(names),
        kinds_of_columns(model),
        None if classes is None else classes.tolist(),
        getattr(_last_step(model), "target_name_", None),
    )


def kinds_of_columns(model: Any) -> dict[str, str]:
    """Return what the columns of a fitted NeuralClassifier or NeuralRegressor hold; a pipeline does not say."""
    names, encoder = getattr(model, "feature_names_in_", ()), getattr(model, "_features", None)
    if encoder is None:
        return {}
    categorical = set(encoder.categorical_.tolist())
    return {name: CATEGORY if j in categorical else NUMBER for j, name in enumerate(names)}


def _last_step(model: Any) -> Any:
    return _last_step(model.steps[-1][1]) if hasattr(model, "steps") else model
