"""The table's way in as a module of torch: raw numbers and codes of categories to what the network takes."""

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from sknn.preprocessing.columns import Columns
from sknn.preprocessing.features import FeatureEncoder
from sknn.preprocessing.scaling import FAR_OUT, QUANTILE_MARGIN, ROBUST_CLIP, ColumnScaler


def raw_tensors(encoder: FeatureEncoder | None, X: Any) -> tuple[Tensor, ...]:
    """A checked table as a `TorchEncoder` takes it: numbers, and if there are categories their codes."""
    if encoder is None:
        return (torch.tensor(np.asarray(X, dtype=np.float64)),)
    table = Columns(X.toarray() if sp.issparse(X) else X)
    numbers = torch.from_numpy(table.block(encoder.numeric_, slice(None)))
    pairs = zip(encoder.categorical_, encoder.levels_, strict=True)
    codes = [torch.from_numpy(table.codes(j, levels)) for j, levels in pairs]
    return (numbers, torch.stack(codes, 1)) if codes else (numbers,)


class TorchEncoder(nn.Module):
    """What `FeatureEncoder.transform` does, with codes in place of categories.

    Parameters
    ----------
    encoder : FeatureEncoder
        Fitted.
    """

    def __init__(self, encoder: FeatureEncoder) -> None:
        super().__init__()
        self.scale = _scaling(encoder.scaler_)
        self.n_levels = [len(levels) for levels in encoder.levels_]
        self.is_embedded = [n > encoder.max_one_hot for n in self.n_levels]
        self.missing = encoder.missing_.tolist()

    def forward(self, numbers: Tensor, codes: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Raw float64 numbers (n, n_numeric) and int64 codes (n, n_categorical) to encoded numbers and codes."""
        scaled: list[Tensor] = [self.scale(numbers), torch.isnan(numbers[:, self.missing]).double()]
        embedded: list[Tensor] = []
        for j, n in enumerate(self.n_levels):
            code = codes[:, j]  # type: ignore[index]
            code = torch.where((code > 0) & (code <= n), code, 0)
            if self.is_embedded[j]:
                embedded.append(code)
            else:
                scaled.append(_one_hot(code, n))
        return torch.cat(scaled, 1), torch.stack(embedded, 1) if embedded else None


def _one_hot(code: Tensor, n_levels: int) -> Tensor:
    """A column per level, or one of -1, 0 and 1 for two levels; of 0 for none."""
    shares = (code[:, None] == torch.arange(1, max(1, n_levels) + 1)).double()
    return shares[:, :1] - shares[:, 1:] if n_levels == 2 else shares


def _scaling(scaler: ColumnScaler) -> nn.Module:
    return _Linear(scaler) if scaler.references is None else _Quantiles(scaler)


class _Linear(nn.Module):
    """(x - center) * scale, and perhaps a smooth clip."""

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
        x = torch.clamp(x, -FAR_OUT, FAR_OUT)
        return x / torch.sqrt(1 + (x / ROBUST_CLIP) ** 2)


class _Quantiles(nn.Module):
    """A step through each column's quantiles, then the normal distribution's."""

    fill: Tensor
    references: Tensor

    def __init__(self, scaler: ColumnScaler) -> None:
        super().__init__()
        self.register_buffer("fill", torch.tensor(scaler.fill))
        self.register_buffer("references", torch.tensor(np.ascontiguousarray(scaler.references.T)))  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        columns = torch.where(torch.isnan(x), self.fill, x).T.contiguous()
        # Where references are equal, the middle of their levels.
        level = (self._level(columns, right=True) + self._level(columns, right=False)) / 2
        return torch.special.ndtri(torch.clamp(level, QUANTILE_MARGIN, 1 - QUANTILE_MARGIN)).T

    def _level(self, columns: Tensor, right: bool) -> Tensor:
        """How far each number has come through the references, from 0 to 1; among equal ones to the last, or first."""
        last = self.references.shape[1] - 1
        below = torch.searchsorted(self.references, columns, right=right) - 1
        below = torch.clamp(below, 0, last - 1)
        low, high = self.references.gather(1, below), self.references.gather(1, below + 1)
        beyond = columns >= low if right else columns > low
        passed = torch.where(high > low, (columns - low) / (high - low), beyond.double())
        return (below + torch.clamp(passed, 0, 1)) / last
