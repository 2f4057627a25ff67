"""`NeuralRegressor`."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import d2_pinball_score, r2_score
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from torch import Tensor

from sknn.estimators.attributes import ATTRIBUTES
from sknn.estimators.base import BaseNeural, Rows
from sknn.estimators.parameters import ABOVE_0, Use, constraints_of, describe, names, parameter
from sknn.network.losses import AbsoluteError, CallableLoss, Gamma, Huber, Loss, Pinball, Poisson, SquaredError
from sknn.preprocessing.targets import ValueEncoder, rescale_for_scoring

LOSSES = {"squared_error": SquaredError, "absolute_error": AbsoluteError, "poisson": Poisson, "gamma": Gamma}
NEEDS_POSITIVE = {"poisson": "zero or more", "gamma": "above zero"}


@dataclass(eq=False, repr=False)
class NeuralRegressor(RegressorMixin, BaseNeural):  # noqa: D101 (the docstring is made of the parameters, below)
    loss: Any = parameter(
        "squared_error",
        [StrOptions({*LOSSES, "huber", "quantile"}), callable],
        names([*LOSSES, "huber", "quantile"]) + " or callable",
        "'poisson' and 'gamma' have a log link and need y >= 0 and y > 0. A callable takes outputs and targets (rows, "
        "n_outputs), as tensors in units of the scaled target, and returns a loss for each row.",
        use=Use.ENCODING | Use.NETWORK,
    )
    quantile: Any = parameter(
        0.5,
        [ABOVE_0, "array-like"],
        "float or array-like of float",
        "The quantile, or several, to predict. `predict` returns a column for each of several; these never cross. Only "
        "used when loss='quantile'.",
        use=Use.ENCODING | Use.NETWORK,
    )
    delta: float = parameter(
        1.0,
        [ABOVE_0],
        "float",
        "The error, in standard deviations of y, above which the loss is linear. Only used when loss='huber'.",
        use=Use.ENCODING | Use.NETWORK,
    )

    def _fit_target(self, rows: Rows, classes: Any) -> None:
        quantiles = self._quantiles()
        self._target = ValueEncoder(self.scaling is not None, NEEDS_POSITIVE.get(self.loss)).fit(rows.y, rows.weight)
        self._target_ndim = rows.y.ndim
        if len(quantiles) > 1 and len(self._target.center_) > 1:
            raise ValueError(
                f"quantile={self.quantile!r} holds several quantiles, which works for one output only, and y has "
                f"{len(self._target.center_)}; use one quantile, or fit an estimator per output."
            )

    def _quantiles(self) -> tuple[float, ...]:
        """Return the quantiles to predict; none for other losses."""
        if self._fixed("loss") != "quantile":
            return ()
        setting = self._fixed("quantile")
        quantiles = tuple(np.atleast_1d(np.asarray(setting, dtype=float)).tolist())
        if not all(0 < q < 1 for q in quantiles) or list(quantiles) != sorted(set(quantiles)):
            raise ValueError(
                f"quantile={setting!r} must hold increasing numbers between 0 and 1, for example (0.1, 0.5, 0.9)."
            )
        return quantiles

    def _encode_target(self, rows: Rows) -> tuple[np.ndarray, np.ndarray | None]:
        encoded = self._target.transform(rows.y)
        self._target.check_magnitude(encoded, rows.y, self._encoded_dtype())
        return np.repeat(encoded, max(1, len(self._quantiles())), axis=1), rows.weight

    def _make_loss(self) -> Loss:
        if callable(self.loss):
            return CallableLoss(self.loss, SquaredError())
        if self.loss == "huber":
            return Huber(self.delta)
        if self.loss == "quantile":
            return Pinball(self._quantiles())
        return LOSSES[self.loss]()

    def _network_outputs(self) -> int:
        return len(self._target.center_) * max(1, len(self._quantiles()))

    @property
    def out_activation_(self) -> str:
        """The activation of the output layer: 'exp' if the loss has a log link, else 'identity'."""
        self._fitted_net("out_activation_")
        return "exp" if self._fixed("loss") in NEEDS_POSITIVE else "identity"

    def _labels(self, target: Tensor) -> np.ndarray:
        values = target.cpu().numpy()
        return values[:, 0] if values.shape[1] == 1 else values

    def _default_metric(self) -> str | None:
        return None if self._quantiles() else "r2"

    def _target_kind(self) -> str:
        return "quantiles" if self._quantiles() else "values"

    @available_if(lambda self: self._is_stochastic())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch on some rows; the encoders and the target's scale are fitted in the first call.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`. No row is held out. A schedule that ends ('cosine', 'one_cycle') is constant here.

        Returns
        -------
        self
        """
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> np.ndarray:
        """Values of rows.

        Parameters
        ----------
        X : like the X of `fit`, of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_outputs) if y had two dimensions, or (n_samples, n_quantiles)
        """
        return self._predict_from(self._predictions(X), self._prediction_dtype(X))

    def _decode_target(self, y: Tensor) -> np.ndarray:
        several = len(self._quantiles()) > 1  # their columns hold copies of one target
        return self._predict_from(y[:, :1] if several else y, np.float64)

    def _predict_from(self, p: Tensor, dtype: Any) -> np.ndarray:
        values = self._target.inverse_transform(p.to(torch.float64).numpy())
        values = values.astype(dtype) if self._target.fits_float32 else values
        return values[:, 0] if values.shape[1] == 1 and self._target_ndim == 1 else values

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R2; with loss='quantile' the share of the pinball loss that is explained, averaged over quantiles.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        float
            At most 1; 0 for the best constant.
        """
        return self._score_of(y, self.predict(X), sample_weight)

    def _score_of(self, y: Any, predicted: np.ndarray, sample_weight: Any) -> float:
        quantiles = self._quantiles()
        y, predicted = rescale_for_scoring(y, predicted)
        if not quantiles:
            return r2_score(y, predicted, sample_weight=sample_weight)
        if len(quantiles) == 1:
            return d2_pinball_score(y, predicted, sample_weight=sample_weight, alpha=quantiles[0])
        scores = [
            d2_pinball_score(np.ravel(y), column, sample_weight=sample_weight, alpha=q)
            for q, column in zip(quantiles, predicted.T, strict=True)
        ]
        return float(np.mean(scores))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


NeuralRegressor._parameter_constraints = constraints_of(NeuralRegressor)
NeuralRegressor.__doc__ = f"""A neural network regressor that takes the raw table.

    Several networks are trained as one batched network, and their predictions are averaged.

    Parameters
    ----------
    {describe(NeuralRegressor)}

    Attributes
    ----------
    {ATTRIBUTES}

    See Also
    --------
    NeuralClassifier : The same for labels.
    sklearn.neural_network.MLPRegressor : All its parameters work here, too.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sknn import NeuralRegressor
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    >>> reg = NeuralRegressor(random_state=0).fit(X, y)
    >>> bool(reg.score(X, y) > 0.4)
    True
    """
