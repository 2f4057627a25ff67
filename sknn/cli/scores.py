"""Score predictions: the scores of each task, and where the errors lie."""

from dataclasses import dataclass
from typing import Any

import numpy as np

BETTER = {  # the scores in their order, and which values are better
    "accuracy": "higher",
    "balanced accuracy": "higher",
    "ROC AUC": "higher",
    "log loss": "lower",
    "R2": "higher",
    "MAE": "lower",
    "RMSE": "lower",
}
QUANTILES = {"5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95}
UNKNOWN = -1  # the code of a label that the model does not know


@dataclass(frozen=True)
class Labels:
    """Labels as codes: their index in `classes`, or -1 for a label that is not among them."""

    codes: np.ndarray
    classes: list[Any]

    @property
    def is_known(self) -> np.ndarray:
        return self.codes != UNKNOWN


def encode_labels(values: Any, classes: list[Any]) -> Labels:
    """Return the codes of labels, by their value: True, 1 and 1.0 are the same label."""
    index = {label: code for code, label in enumerate(classes)}
    plain = np.asarray(values, dtype=object).tolist()
    return Labels(np.array([index.get(value, UNKNOWN) for value in plain], dtype=int), classes)


def score_predictor(predictor: Any, classes: list[Any] | None, X: Any, y: Any) -> dict[str, float]:
    """Return the scores of a model for rows X with the targets y; `classes` is None for a regressor."""
    predicted = one_column(predictor.predict(X))
    if classes is None:
        return regression_scores(np.asarray(y, dtype=np.float64), predicted.astype(np.float64))
    return classification_scores(
        encode_labels(y, classes), encode_labels(predicted, classes), predictor.predict_proba(X)
    )


def one_column(predicted: np.ndarray) -> np.ndarray:
    """Return predictions, or raise an error if there are several for each row."""
    if predicted.ndim > 1:
        raise ValueError(f"the model predicts {predicted.shape[1]} columns; only a single one can be evaluated")
    return predicted


def classification_scores(labels: Labels, predicted: Labels, probabilities: np.ndarray) -> dict[str, float]:
    """Return the scores of a classifier.

    A label that the model does not know counts as an error in the accuracies; log loss and ROC AUC are those of the
    other rows. Balanced accuracy is the mean recall of the classes in `labels`. ROC AUC is for two classes.
    """
    from sklearn.metrics import accuracy_score, log_loss, recall_score, roc_auc_score

    present, n_classes = np.unique(labels.codes), len(labels.classes)
    scores = {
        "accuracy": accuracy_score(labels.codes, predicted.codes),
        "balanced accuracy": recall_score(
            labels.codes, predicted.codes, labels=present, average="macro", zero_division=0
        ),
    }
    codes, p = labels.codes[labels.is_known], probabilities[labels.is_known].astype(np.float64)
    if n_classes == 2 and len(np.unique(codes)) == 2:
        scores["ROC AUC"] = roc_auc_score(codes, p[:, 1])
    if len(codes) and n_classes > 1:
        scores["log loss"] = log_loss(codes, p / p.sum(1, keepdims=True), labels=np.arange(n_classes))
    return {name: float(score) for name, score in scores.items()}


def regression_scores(values: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return the scores of a regressor; R2 needs two rows with different values."""
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    scores = {} if len(np.unique(values)) < 2 else {"R2": r2_score(values, predicted)}
    scores |= {"MAE": mean_absolute_error(values, predicted), "RMSE": root_mean_squared_error(values, predicted)}
    return {name: float(score) for name, score in scores.items()}


def confusion_counts(labels: Labels, predicted: Labels) -> np.ndarray:
    """Return how many rows of each class (rows of the matrix) are predicted as each class (columns)."""
    n, known = len(labels.classes), labels.is_known
    return np.bincount(labels.codes[known] * n + predicted.codes[known], minlength=n * n).reshape(n, n)


def residual_quantiles(values: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return quantiles of true value - prediction."""
    residuals = values - predicted
    return {name: float(np.quantile(residuals, q)) for name, q in QUANTILES.items()}
