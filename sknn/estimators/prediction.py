"""Predict a table: encode its rows, run the network, and average the members."""

from abc import abstractmethod
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from sknn.network.base import Inputs
from sknn.preprocessing.features import Encoded, FeatureEncoder
from sknn.preprocessing.tables import take
from sknn.training.net import TrainingNet
from sknn.utils.threads import threads

PREDICTED_VALUES = 1 << 18  # of the widest layer, for all members, at once: 1 MB, which stays in a core's cache
MIN_ROWS = 256  # predicted at once
ENCODED_VALUES = 1 << 22  # of a table, encoded at once for a prediction: 32 MB in float64


class Prediction:
    """A mixin for an estimator with encoders and a net."""

    net_: TrainingNet
    n_threads: Any
    _features: FeatureEncoder | None

    @abstractmethod
    def _check_X(self, X: Any, reset: bool) -> Any:
        """Return the table, checked against the columns of `fit`."""

    @abstractmethod
    def _encode(self, X: Any) -> Encoded:
        """Return the encoded table."""

    @abstractmethod
    def _fixed(self, name: str) -> Any:
        """Return the value that a parameter had when the network was built."""

    def _predictions(self, X: Any) -> Tensor:
        """Return the mean over members of the outputs after the link, (n, K), on the CPU."""
        check_is_fitted(self)
        X = self._check_X(X, reset=False)
        n, at_once = X.shape[0], max(MIN_ROWS, ENCODED_VALUES // X.shape[1])
        with threads(self.n_threads, self._rows_at_once(n) * self.net_.module_.n_values):
            params = self._double_params(X)
            if n <= at_once:
                return self._predict_block(X, params)
            blocks = (slice(start, start + at_once) for start in range(0, n, at_once))
            return torch.cat([self._predict_block(take(X, rows), params) for rows in blocks])

    def _predict_block(self, X: Any, params: list[Tensor] | None) -> Tensor:
        """Encode some rows, and predict them in blocks that fit into a core's cache."""
        encoded, net, network = self._encode(X), self.net_, self.net_.module_
        device, dtype = network.device, network.dtype if params is None else params[0].dtype
        numeric: Any = encoded.numeric if sp.issparse(encoded.numeric) else torch.from_numpy(encoded.numeric)
        codes = torch.from_numpy(encoded.codes) if encoded.codes.shape[1] else None
        n, parts = len(encoded), []
        at_once = self._rows_at_once(n)
        with torch.inference_mode(), network.compute_context(n):
            for start in range(0, n, at_once):
                rows = slice(start, start + at_once)
                block = numeric[rows]
                block = torch.from_numpy(block.toarray()) if sp.issparse(block) else block
                x = Inputs(block.to(device, dtype), None if codes is None else codes[rows].to(device))
                parts.append(net.average(net.criterion_.link(network.outputs_of_rows(x, params))).cpu())
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _rows_at_once(self, n: int) -> int:
        """Return how many of `n` rows the network predicts at once."""
        if n <= MIN_ROWS:
            return n
        return min(n, max(MIN_ROWS, PREDICTED_VALUES // (self.net_.module_.n_members * self._widest())))

    def _double_params(self, X: Any) -> list[Tensor] | None:
        """Return the parameters of each part in float64 if X is float64 and `precision` is "auto", else None.

        The last digit of a float32 product depends on the other rows, which scikit-learn's checks do not accept.
        """
        network, is_float64 = self.net_.module_, self._prediction_dtype(X) is np.float64
        if self._fixed("precision") != "auto" or network.device.type != "cpu" or not is_float64:
            return None
        return [part.param_buffer.double() for part in network.parts]

    def _widest(self) -> int:
        widths = [entry.shape[-1] for part in self.net_.module_.parts for entry in part.entries if entry.shape]
        return max(widths, default=1) + (self._features.n_numeric_ if self._features else 0)

    def _prediction_dtype(self, X: Any) -> Any:
        """Return the type of predictions: float32 for float32 rows, else float64."""
        return np.float32 if getattr(X, "dtype", None) == np.float32 else np.float64
