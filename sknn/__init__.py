"""Neural networks that behave like any scikit-learn estimator."""

from sknn._autolog import autolog
from sknn._classifier import NeuralClassifier
from sknn._from_sklearn import from_sklearn
from sknn._regressor import NeuralRegressor

__version__ = "0.1.0.dev0"
__all__ = ["NeuralClassifier", "NeuralRegressor", "__version__", "autolog", "from_sklearn"]
