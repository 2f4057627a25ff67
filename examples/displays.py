"""A figure with displays of sknn and scikit-learn for a network: demo/displays.png."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from sklearn.calibration import CalibrationDisplay
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import ValidationCurveDisplay, train_test_split

from sknn import NeuralClassifier
from sknn.inspection import TrainingCurveDisplay
from sknn.model_selection import batched_fits

mpl.use("Agg")
from matplotlib import pyplot as plt

NETWORK = {"hidden_layer_sizes": (64, 32), "ensemble_size": 2, "max_iter": 30, "random_state": 0}
RATES = np.logspace(-4, -1, 7)


def draw(X, y, path):
    """Draw four displays; scikit-learn's take a network like any estimator."""
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, random_state=0, stratify=y)
    clf = NeuralClassifier(**NETWORK).fit(X_train, y_train)
    figure, axes = plt.subplots(2, 2, figsize=(9, 7.2), layout="constrained")
    training, validation, calibration, confusion = axes.flat
    TrainingCurveDisplay.from_estimator(clf, ax=training)
    with batched_fits():  # trains the networks of all 35 fits jointly
        ValidationCurveDisplay.from_estimator(
            NeuralClassifier(**NETWORK),
            X_train,
            y_train,
            param_name="learning_rate_init",
            param_range=RATES,
            scoring="neg_log_loss",
            negate_score=True,
            ax=validation,
        )
    CalibrationDisplay.from_estimator(clf, X_test, y_test, n_bins=5, strategy="quantile", ax=calibration)
    labels = ["malignant", "benign"]
    ConfusionMatrixDisplay.from_estimator(clf, X_test, y_test, display_labels=labels, ax=confusion, colorbar=False)
    validation.set(ylabel="log loss", ylim=(0, None))
    titles = ["Training", "Learning rate, in five folds", "Calibration on new rows", "Confusion on new rows"]
    for ax, title in zip(axes.flat, titles, strict=True):
        ax.set_title(title, loc="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main(folder=Path("demo")):
    X, y = load_breast_cancer(return_X_y=True)
    draw(X[:, :3], y, folder / "displays.png")  # three columns, because with all of them there are few errors to see
    print(f"Picture: {folder / 'displays.png'}")


if __name__ == "__main__":
    main()
