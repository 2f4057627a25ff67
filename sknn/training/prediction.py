"""Predict encoded rows with a net, for skorch's callbacks and their scorers."""

from typing import Any

import numpy as np
import torch
from sklearn.metrics import accuracy_score, r2_score
from skorch.dataset import Dataset
from torch import Tensor

from sknn.network.base import Network
from sknn.network.losses import Loss
from sknn.training.members import MemberState
from sknn.training.table import EncodedRows, Table

ROWS_AT_ONCE = 8192


class NetPrediction:
    """A mixin for a net with a network, a loss, and (of a classifier) codes of its classes."""

    module_: Network
    criterion_: Loss
    classes: np.ndarray | None
    member_states_: list[MemberState]
    _held_out: list[Tensor]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the mean prediction: probabilities (n, n_classes), or values (n, K) on the scale of the loss."""
        p = self._mean_prediction(X)
        is_of_two = self.classes is not None and p.shape[1] == 1 and not self.criterion_.outputs_are_exclusive
        return np.hstack([1 - p, p]) if is_of_two else p

    def predict(self, X: Any) -> np.ndarray:
        """Return codes of the classes, or values on the scale of the loss."""
        p = self._mean_prediction(X)
        if self.classes is None:
            return p[:, 0] if p.shape[1] == 1 else p
        if self.criterion_.outputs_are_exclusive:
            return self.classes[p.argmax(1)]
        labels = (p > 0.5).astype(int)
        return labels[:, 0] if p.shape[1] == 1 else labels

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy or R2 of encoded rows."""
        measure = r2_score if self.classes is None else accuracy_score
        return float(measure(y, self.predict(X), sample_weight=sample_weight))

    def average(self, p: Tensor) -> Tensor:
        """Return the weighted mean of the members' predictions, (M, n, K) -> (n, K)."""
        if len(p) == 1:
            return p[0]
        weights = [state.weight for state in self.member_states_]
        if len(set(weights)) == 1:
            return p.mean(0)
        return (p * p.new_tensor(weights)[:, None, None]).sum(0) / sum(weights)

    def _mean_prediction(self, X: Any) -> np.ndarray:
        table, index, held_out = self._rows_of(X)
        module, was_training = self.module_, self.module_.training
        module.eval()
        with torch.inference_mode(), module.compute_context(len(index)):
            parts = [self._mean_of(table, rows, held_out) for rows in index.split(ROWS_AT_ONCE)]
        module.train(was_training)
        return torch.cat(parts).cpu().numpy()

    def _mean_of(self, table: Table, index: Tensor, held_out: bool) -> Tensor:
        """Return the mean over members; for held-out rows, over the members that held them out."""
        p = self.criterion_.link(self.module_.outputs_of_rows(table.inputs(index)))
        if not held_out:
            return self.average(p)
        unseen = torch.stack([torch.isin(index, rows) for rows in self._held_out]).to(p.dtype)
        return (p * unseen.unsqueeze(2)).sum(0) / unseen.sum(0).unsqueeze(1)

    def _rows_of(self, X: Any) -> tuple[Table, Tensor, bool]:
        """Return table, indices and `held_out` of rows: a skorch dataset, `EncodedRows`, or an array (n, d)."""
        rows = X.X if isinstance(X, Dataset) else X
        if isinstance(rows, EncodedRows):
            return rows.table, rows.index, rows.held_out
        numeric = torch.as_tensor(rows).to(self.module_.device, self.module_.dtype)
        table = Table(numeric, None, numeric.new_zeros(len(numeric), 1))
        return table, torch.arange(len(numeric), device=numeric.device), False
