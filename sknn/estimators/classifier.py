"""`NeuralClassifier`."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.metrics import accuracy_score
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call
from torch import Tensor

from sknn.estimators.attributes import ATTRIBUTES
from sknn.estimators.base import BaseNeural, Rows
from sknn.estimators.parameters import FRACTION, Use, constraints_of, describe, parameter
from sknn.network.losses import BinaryCrossEntropy, CallableLoss, Loss, SoftmaxCrossEntropy
from sknn.preprocessing.targets import ClassEncoder, rescale_extreme_weights


@dataclass(eq=False, repr=False)
class NeuralClassifier(ClassifierMixin, BaseNeural):  # noqa: D101 (the docstring is made of the parameters, below)
    loss: Any = parameter(
        "log_loss",
        [StrOptions({"log_loss"}), callable],
        "{'log_loss'} or callable",
        "A callable takes raw outputs and targets (rows, K), as tensors, and returns a loss for each row. Targets are "
        "columns of 0 and 1: one for two classes, and one for each class if there are more.",
        use=Use.ENCODING | Use.NETWORK,
    )
    label_smoothing: float = parameter(
        0.0,
        [FRACTION],
        "float",
        "Fraction of each label's probability that is spread over all classes. It improves accuracy a little, and "
        "makes calibration and log loss worse.",
        use=Use.PER_MEMBER,
    )
    class_weight: Any = parameter(
        None,
        [dict, list, StrOptions({"balanced"}), None],
        "dict, list of dict (multilabel), 'balanced' or None",
        "Factors of the weights of each class's rows; 'balanced' is n_samples / (n_classes * count). The dict may name "
        "labels that y lacks (as in a fold of a cross-validation), as long as every label of y has its weight.",
        use=Use.ENCODING | Use.NETWORK | Use.PER_MEMBER,
    )

    def _fit_target(self, rows: Rows, classes: Any) -> None:
        self._target = ClassEncoder().fit(rows.all_y, classes)
        self.classes_ = self._target.classes_
        self._label_weights = self._weights_of_labels(rows)

    def _encode_target(self, rows: Rows) -> tuple[np.ndarray, np.ndarray | None]:
        weight = rows.weight
        if self.class_weight is not None:
            factors = rescale_extreme_weights(self._class_factors(rows))
            weight = factors if weight is None else weight * factors
        return self._target.transform(rows.y), weight

    def _class_factors(self, rows: Rows) -> np.ndarray:
        """Return the factor of each row's weight that `class_weight` gives."""
        if self._target.kind_ == "multilabel":
            return compute_sample_weight(self.class_weight, rows.y)
        codes = self._target.codes(rows.y.ravel())
        return np.ones(len(codes)) if self._label_weights is None else self._label_weights[codes]

    def _weights_of_labels(self, rows: Rows) -> np.ndarray | None:
        """Return a weight for each of `classes_`, or None; 'balanced' counts a row of weight k as k rows."""
        if self.class_weight is None or self._target.kind_ == "multilabel":
            return None
        if self.class_weight == "balanced":
            labels, weights = rows.y.ravel(), np.ones(len(self.classes_))
            counted = np.unique(labels)
            weights[self._target.codes(counted)] = compute_class_weight(
                "balanced", classes=counted, y=labels, sample_weight=rows.weight
            )
            return weights
        if not isinstance(self.class_weight, dict):
            raise ValueError(
                f"class_weight={self.class_weight!r} is a list, which goes with several columns of labels; give one "
                "dict of labels and weights."
            )
        weights = np.array([self.class_weight.get(label, 1.0) for label in self.classes_.tolist()], dtype=float)
        if self._names_other_labels() or not (weights >= 0).all() or not weights.any():
            raise ValueError(
                f"class_weight={self.class_weight!r} must give weights of 0 or more, not all 0, to labels of y, which "
                f"are {self.classes_.tolist()}; a label that is left out weighs 1."
            )
        return weights

    def _names_other_labels(self) -> bool:
        """Return whether `class_weight` names unknown labels while labels of y are missing in it.

        Labels that are missing in y only are fine, since a fold of a cross-validation may lack them.
        """
        named, known = set(self.class_weight), set(self.classes_.tolist())
        return bool(named - known and known - named)

    def _make_loss(self) -> Loss:
        log_loss = SoftmaxCrossEntropy() if self._target.kind_ == "multiclass" else BinaryCrossEntropy()
        return CallableLoss(self.loss, log_loss) if callable(self.loss) else log_loss

    def _network_outputs(self) -> int:
        return 1 if self._target.kind_ == "binary" else len(self.classes_)

    @property
    def out_activation_(self) -> str:
        """The activation of the output layer: 'softmax' for several classes, else 'logistic'."""
        self._fitted_net("out_activation_")
        return "softmax" if self._target.kind_ == "multiclass" else "logistic"

    def _class_codes(self) -> np.ndarray:
        return np.arange(len(self.classes_))

    def _strata(self, target: Tensor) -> np.ndarray | None:
        if self._target.kind_ == "multilabel":
            return None
        return self._labels(target)

    def _labels(self, target: Tensor) -> np.ndarray:
        if self._target.kind_ == "multiclass":
            return target.argmax(1).cpu().numpy()
        labels = target.cpu().numpy().astype(np.int64)
        return labels[:, 0] if self._target.kind_ == "binary" else labels

    def _default_metric(self) -> str:
        return "accuracy"

    def _target_kind(self) -> str:
        kind = self._target.kind_
        # A single class has one column of probabilities, measured like that of two classes.
        return "binary" if kind == "multiclass" and len(self.classes_) == 1 else kind

    @available_if(lambda self: self._is_stochastic())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one epoch on some rows; the encoders are fitted in the first call.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`. No row is held out. A schedule that ends ('cosine', 'one_cycle') is constant here.
        classes : array-like of shape (n_classes,), optional
            All labels of all calls; required in the first call.

        Returns
        -------
        self
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' is not supported for partial_fit, which never sees all labels; compute the "
                "weights with sklearn.utils.class_weight.compute_class_weight and pass them as a dict."
            )
        return self._partial_fit(X, y, sample_weight, classes)

    def _classes_of_first_call(self, classes: Any) -> Any:
        is_first = _check_partial_fit_first_call(self, classes) or not self.__sklearn_is_fitted__()
        return self.classes_ if is_first else None

    def predict(self, X: Any) -> np.ndarray:
        """Labels of rows.

        Parameters
        ----------
        X : like the X of `fit`, of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_labels) if multilabel
        """
        return self._predict_from(self._predictions(X), np.float64)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class.

        Parameters
        ----------
        X : like the X of `fit`, of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Mean over members, in the order of `classes_`; if multilabel, of each label on its own.
        """
        return self._probabilities(self._predictions(X), self._prediction_dtype(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Log of the probability of each class.

        Parameters
        ----------
        X : like the X of `fit`, of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            The log of `predict_proba`.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def _decode_target(self, y: Tensor) -> np.ndarray:
        return self._predict_from(y, np.float64)

    def _predict_from(self, p: Tensor, dtype: Any) -> np.ndarray:
        return self._target.inverse_transform(p.numpy())

    def _probabilities(self, p: Tensor, dtype: Any) -> np.ndarray:
        shares = p.numpy().astype(dtype)
        if self._target.kind_ == "binary":
            return np.concatenate([1 - shares, shares], 1)
        return shares / shares.sum(1, keepdims=True) if self._target.kind_ == "multiclass" else shares

    def _score_of(self, y: Any, predicted: np.ndarray, sample_weight: Any) -> float:
        return accuracy_score(y, predicted, sample_weight=sample_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


NeuralClassifier._parameter_constraints = constraints_of(NeuralClassifier)
NeuralClassifier.__doc__ = f"""A neural network classifier that takes the raw table.

    Several networks are trained as one batched network, and their probabilities are averaged.

    Parameters
    ----------
    {describe(NeuralClassifier)}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, in the order of `predict_proba`'s columns, including those of rows of weight 0. A single label is
        predicted with probability 1.
    {ATTRIBUTES}

    See Also
    --------
    NeuralRegressor : The same for values.
    sklearn.neural_network.MLPClassifier : All its parameters work here, too.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sknn import NeuralClassifier
    >>> X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    >>> clf = NeuralClassifier(random_state=0).fit(X, y)
    >>> bool(clf.score(X, y) > 0.95)
    True
    """
