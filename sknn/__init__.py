"""Neural networks that behave like any scikit-learn estimator.

The public names are imported when they are first used (Scientific Python's SPEC 1,
https://scientific-python.org/specs/spec-0001), so that a program that only uses OnnxPredictor does not import torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sknn.callbacks as callbacks
    import sknn.export as export
    import sknn.inspection as inspection
    import sknn.model_selection as model_selection
    import sknn.monitoring as monitoring
    import sknn.persistence as persistence
    import sknn.registry as registry
    from sknn.estimators.classifier import NeuralClassifier
    from sknn.estimators.from_sklearn import from_sklearn
    from sknn.estimators.regressor import NeuralRegressor
    from sknn.history.diagnosis import TrainingWarning
    from sknn.onnx_predictor import OnnxPredictor
    from sknn.persistence import load, save
    from sknn.tracking.autolog import autolog

__version__ = "0.1.0.dev0"
__all__ = [
    "NeuralClassifier",
    "NeuralRegressor",
    "OnnxPredictor",
    "TrainingWarning",
    "__version__",
    "autolog",
    "callbacks",
    "export",
    "from_sklearn",
    "inspection",
    "load",
    "model_selection",
    "monitoring",
    "persistence",
    "registry",
    "save",
]

_SUBMODULES = ("callbacks", "export", "inspection", "model_selection", "monitoring", "persistence", "registry")
_MODULES = {
    "NeuralClassifier": "sknn.estimators.classifier",
    "NeuralRegressor": "sknn.estimators.regressor",
    "OnnxPredictor": "sknn.onnx_predictor",
    "TrainingWarning": "sknn.history.diagnosis",
    "autolog": "sknn.tracking.autolog",
    "from_sklearn": "sknn.estimators.from_sklearn",
    "load": "sknn.persistence",
    "save": "sknn.persistence",
}


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__
