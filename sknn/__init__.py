"""Neural networks that behave like any scikit-learn estimator."""

from sknn._classifier import NeuralClassifier
from sknn._from_sklearn import from_sklearn
from sknn._regressor import NeuralRegressor
from sknn.persistence import load, save

__version__ = "0.1.0.dev0"
__all__ = ["NeuralClassifier", "NeuralRegressor", "__version__", "from_sklearn", "load", "save"]
