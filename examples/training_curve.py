"""Draw the training curves and the layers of a network into demo/, and print its table of layers."""

from pathlib import Path

import matplotlib as mpl
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sknn import NeuralClassifier
from sknn.inspection import NetworkDisplay, TrainingCurveDisplay, summary

mpl.use("Agg")
from matplotlib import pyplot as plt

NETWORK = {"hidden_layer_sizes": (64, 32), "ensemble_size": 4, "n_iter_no_change": 8, "random_state": 0}


def draw(clf, folder):
    """Draw the curves of all recorded values, and the layers with their weights."""
    folder.mkdir(parents=True, exist_ok=True)
    curves = TrainingCurveDisplay.from_estimator(clf, kind="all")
    curves.ax_[0].set_yscale("log")
    for name, display in {"training_curve.png": curves, "network.png": NetworkDisplay.from_estimator(clf)}.items():
        display.figure_.savefig(folder / name, dpi=80)
        plt.close(display.figure_)
        print(f"Picture: {folder / name}")


def main(folder=Path("demo")):
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
    clf = NeuralClassifier(**NETWORK, metrics=["accuracy"]).fit(X_train, y_train)
    print(f"{clf.n_iter_} epochs, accuracy on new rows {clf.score(X_test, y_test):.3f}\n")
    print(summary(clf), "\n")
    draw(clf, folder)
    return clf


if __name__ == "__main__":
    main()
