"""The encoding of a table as a module of torch: raw values and codes of categories to the network's input."""

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from sknn.preprocessing.columns import Columns
from sknn.preprocessing.encoding import Category
from sknn.preprocessing.features import FeatureEncoder
from sknn.preprocessing.scaling import CLIP_INPUT_LIMIT, QUANTILE_MARGIN, ROBUST_CLIP, ColumnScaler


def raw_tensors(encoder: FeatureEncoder | None, X: Any) -> tuple[Tensor, ...]:
    """Return the arguments of a `TorchEncoder` for a checked table: numeric columns, and codes if it has categories."""
    if encoder is None:
        return (torch.tensor(np.asarray(X, dtype=np.float64)),)
    table, plan = Columns(X.toarray() if sp.issparse(X) else X), encoder.plan
    numeric = torch.from_numpy(table.block(plan.numeric, slice(None)))
    codes = [torch.from_numpy(table.codes(category.index, category.levels)) for category in plan.categories]
    return (numeric, torch.stack(codes, 1)) if codes else (numeric,)


class TorchEncoder(nn.Module):
    """`FeatureEncoder.transform`, with codes in place of categories.

    Parameters
    ----------
    encoder : FeatureEncoder
        Fitted.
    """

    def __init__(self, encoder: FeatureEncoder) -> None:
        super().__init__()
        plan = encoder.plan
        self.scale = (_LinearScaler if plan.scaler.references is None else _QuantileScaler)(plan.scaler)
        self.missing = plan.missing.tolist()
        self.categories = plan.categories

    def forward(self, numeric: Tensor, codes: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Encode float64 values (n, n_numeric) and int64 codes (n, n_categorical)."""
        encoded: list[Tensor] = [self.scale(numeric), torch.isnan(numeric[:, self.missing]).double()]
        embedded: list[Tensor] = []
        for k, category in enumerate(self.categories):
            code = codes[:, k]  # type: ignore[index]
            code = torch.where((code > 0) & (code <= len(category.levels)), code, 0)
            if category.is_embedded:
                embedded.append(code)
            else:
                encoded.append(_one_hot(code, category))
        return torch.cat(encoded, 1), torch.stack(embedded, 1) if embedded else None


def _one_hot(code: Tensor, category: Category) -> Tensor:
    if category.values is not None:
        return torch.tensor(category.values, dtype=torch.float64)[code][:, None]
    return (code[:, None] == torch.tensor(category.level_codes)).double()


class _LinearScaler(nn.Module):
    """Computes ``(x - center) * scale``, then perhaps a smooth clip."""

    fill: Tensor
    center: Tensor
    factor: Tensor

    def __init__(self, scaler: ColumnScaler) -> None:
        super().__init__()
        self.clip = scaler.clip
        for name, values in {"fill": scaler.fill, "center": scaler.center, "factor": scaler.scale}.items():
            self.register_buffer(name, torch.tensor(values))

    def forward(self, x: Tensor) -> Tensor:
        x = (torch.where(torch.isnan(x), self.fill, x) - self.center) * self.factor
        if not self.clip:
            return x
        x = torch.clamp(x, -CLIP_INPUT_LIMIT, CLIP_INPUT_LIMIT)
        return x / torch.sqrt(1 + (x / ROBUST_CLIP) ** 2)


class _QuantileScaler(nn.Module):
    """Maps values to their level among the references of their column, then to the normal quantile of that level."""

    fill: Tensor
    references: Tensor

    def __init__(self, scaler: ColumnScaler) -> None:
        super().__init__()
        self.register_buffer("fill", torch.tensor(scaler.fill))
        self.register_buffer("references", torch.tensor(np.ascontiguousarray(scaler.references.T)))  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        columns = torch.where(torch.isnan(x), self.fill, x).T.contiguous()
        # A value equal to several references gets the middle of their levels.
        level = (self._level(columns, right=True) + self._level(columns, right=False)) / 2
        return torch.special.ndtri(torch.clamp(level, QUANTILE_MARGIN, 1 - QUANTILE_MARGIN)).T

    def _level(self, columns: Tensor, right: bool) -> Tensor:
        """Return each value's level, from 0 to 1. Of equal references take the last one if `right`, else the first."""
        last = self.references.shape[1] - 1
        below = torch.searchsorted(self.references, columns, right=right) - 1
        below = torch.clamp(below, 0, last - 1)
        low, high = self.references.gather(1, below), self.references.gather(1, below + 1)
        is_beyond = columns >= low if right else columns > low
        share = torch.where(high > low, (columns - low) / (high - low), is_beyond.double())
        return (below + torch.clamp(share, 0, 1)) / last
