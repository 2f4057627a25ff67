"""The program of `make serve`: train a model on a real table, export it, and serve it until Ctrl-C.

The model says how fast a patient's diabetes will progress: the thirds of scikit-learn's diabetes data. The page at the
printed address has a form for a patient; /docs describes the API. Another port: make serve PORT=9000
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sknn import NeuralClassifier
from sknn.cli import main
from sknn.export import to_onnx

FOLDER = Path("demo")
NAMES = {"bp": "blood pressure", "s5": "triglycerides", "s6": "glucose", "s1": "cholesterol"}


def patients():
    """Return patients with a year's progress of their disease, in three classes."""
    X, progress = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    X = X[["age", "sex", "bmi", *NAMES]].rename(columns=NAMES)
    X["sex"] = X["sex"].map({1.0: "female", 2.0: "male"})
    X["glucose"] = X["glucose"].mask(np.random.default_rng(0).random(len(X)) < 0.1)  # as in real tables
    return X, pd.qcut(progress, 3, labels=["slow", "medium", "fast"]).astype(str).rename("progress")


def train(path):
    """Train a model and export it with its members, which show how sure it is."""
    X, y = patients()
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        clf = NeuralClassifier(random_state=0).fit(X_train, y_train)
    to_onnx(clf, X_train, path=path, members=True)
    print(f"Trained on {len(X_train)} patients; accuracy {clf.score(X_test, y_test):.2f} on {len(X_test)} others.\n")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    train(FOLDER / "diabetes.onnx")
    sys.exit(main(["serve", str(FOLDER / "diabetes.onnx"), "--log-level", "warning", *sys.argv[1:]]))
