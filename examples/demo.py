"""The program of `make demo`: compare neural networks with baselines on real tables, in about a minute.

It prints a table of scores for each data set, draws the training curves into demo/training.png, and saves, loads and
uses a model.
"""

import time
import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold, cross_validate, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from sknn import NeuralClassifier, NeuralRegressor, load, save
from sknn.inspection import TrainingCurveDisplay

mpl.use("Agg")
from matplotlib import pyplot as plt

FOLDER = Path("demo")
FOLDS = 5


# --- Real tables, included in scikit-learn ------------------------------------------------------------------------


def tumours():
    """Return the Wisconsin breast cancer data: is a tumour malignant or benign?"""
    data = load_breast_cancer(as_frame=True)
    return data.data, data.target_names[data.target]


def wines():
    """Return the wine data: which of three growers made the wine?"""
    return load_wine(return_X_y=True, as_frame=True)


def patients():
    """Return the diabetes data, with the sex as a string and a tenth of the blood values missing, as in real tables."""
    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    X["sex"] = X["sex"].map({1.0: "female", 2.0: "male"})
    blood = ["s1", "s2", "s3", "s4", "s5", "s6"]
    X[blood] = X[blood].mask(np.random.default_rng(0).random((len(X), len(blood))) < 0.1)
    return X, y


# --- Scores -------------------------------------------------------------------------------------------------------


def with_preprocessing(model):
    """Return a pipeline that lets a baseline use a raw table: impute, scale and one-hot encode."""
    numeric = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    preprocessing = make_column_transformer(
        (numeric, make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
    )
    return make_pipeline(preprocessing, model)


CLASSIFIERS = {
    "most frequent class": DummyClassifier(strategy="prior"),
    "logistic regression": with_preprocessing(LogisticRegression(max_iter=1000)),
    "scikit-learn's MLP": with_preprocessing(MLPClassifier(max_iter=500, random_state=0)),
    "sknn, one network": NeuralClassifier(ensemble_size=1, random_state=0),
    "sknn, default": NeuralClassifier(random_state=0),
}
REGRESSORS = {
    "mean of y": DummyRegressor(),
    "ridge regression": with_preprocessing(Ridge()),
    "scikit-learn's MLP": with_preprocessing(MLPRegressor(max_iter=500, random_state=0)),
    "sknn, one network": NeuralRegressor(ensemble_size=1, random_state=0),
    "sknn, default": NeuralRegressor(random_state=0),
}
# Name in the table, scikit-learn's scorer, and the factor that undoes the scorer's sign.
CLASSIFIER_SCORES = [("accuracy", "accuracy", 1), ("log loss", "neg_log_loss", -1)]
REGRESSOR_SCORES = [("R²", "r2", 1), ("RMSE", "neg_root_mean_squared_error", -1)]


def compare(title, X, y, models, scores):
    """Print a table of cross-validated scores, a line per model as soon as it is scored."""
    rows, columns = X.shape
    n_missing = int(X.isna().to_numpy().sum())
    print(f"\n  {title}: {rows} rows, {columns} columns" + (f", {n_missing} missing values" if n_missing else ""))
    print(f"  {'':<26}{scores[0][0]:>10}{scores[1][0]:>10}{'fit':>11}")
    splitter = StratifiedKFold if scores is CLASSIFIER_SCORES else KFold
    folds = splitter(FOLDS, shuffle=True, random_state=0)
    for name, model in models.items():
        results = cross_validate(model, X, y, cv=folds, scoring={label: scorer for label, scorer, _ in scores})
        values = "".join(f"{sign * results[f'test_{label}'].mean():>10.3f}" for label, _, sign in scores)
        print(f"  {name:<26}{values}{results['fit_time'].mean():>9.2f} s", flush=True)


# --- Training curves and saving -----------------------------------------------------------------------------------


def draw(clf, path):
    """Plot loss and accuracy by epoch: a thin line per network, and a dot at the epoch whose weights it keeps."""
    display = TrainingCurveDisplay.from_estimator(clf, kind=["loss", "accuracy"])
    display.ax_[0].set_yscale("log")
    display.ax_[1].set_ylim(0.9, 1.005)
    display.figure_.suptitle("Breast cancer: the networks of an ensemble (thin lines), and their mean")
    display.figure_.savefig(path, dpi=150)
    plt.close(display.figure_)


def save_and_load(clf, path):
    """Save the fitted model to a file that holds no code, and load it."""
    save(clf, path)
    return load(path)


def main():
    started = time.perf_counter()
    FOLDER.mkdir(exist_ok=True)
    print(f"\n  sknn on real tables: mean over {FOLDS} folds, one thread.")
    print("  Accuracy and R²: higher is better.  Log loss and RMSE: lower is better.  Fit: seconds per fold.")
    print("  The baselines get imputed, scaled, one-hot encoded tables; sknn gets the raw tables.")
    compare("Breast cancer, malignant or benign", *tumours(), CLASSIFIERS, CLASSIFIER_SCORES)
    compare("Wine, three growers", *wines(), CLASSIFIERS, CLASSIFIER_SCORES)
    compare("Diabetes, with strings and missing values", *patients(), REGRESSORS, REGRESSOR_SCORES)

    X, y = tumours()
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
    clf = NeuralClassifier(metrics=["accuracy"], random_state=0).fit(X_train, y_train)
    draw(clf, FOLDER / "training.png")
    print("\n  Training curves:  demo/training.png")

    path = FOLDER / "model.sknn"
    loaded = save_and_load(clf, path)
    print(f"  Saved model:      demo/model.sknn, {path.stat().st_size / 1e6:.1f} MB")
    same = np.array_equal(loaded.predict_proba(X_test), clf.predict_proba(X_test))
    probabilities = "the same probabilities" if same else "DIFFERENT PROBABILITIES"
    print(f"  Loaded model:     {probabilities} for {len(X_test)} new rows")
    print("\n  new row     prediction    probability    truth")
    for i, p in enumerate(loaded.predict_proba(X_test.head(5))):
        print(f"  {i + 1:<12}{loaded.classes_[p.argmax()]:<14}{p.max():<15.3f}{y_test[i]}")
    print(f"\n  Done in {time.perf_counter() - started:.0f} s.  The code is examples/demo.py.\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ConvergenceWarning)  # scikit-learn's MLP reaches max_iter on some folds
    with threadpool_limits(1):
        main()
