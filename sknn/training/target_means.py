"""The means of the target over the rows of each level of a category, as inputs of a network.

If a category has many levels, each level has few rows, and its vector is learned slowly. The mean of the target over
these rows is known at once. But it must not contain the target of the row that takes it as an input, since the network
would learn to read this target there, and new rows have none. So the training rows are divided into folds, and a row
takes the means of the rows in the other folds, as in scikit-learn's `TargetEncoder`. A member's means do not contain
the rows that it holds out.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sknn.network.base import Network
from sknn.network.embeddings import MEAN_FOLDS, CategoricalEmbedding
from sknn.network.mlp import MLP
from sknn.training.plan import TrainingSet
from sknn.training.table import Table

MAX_MEANS = 10  # of a level; with more classes, the means cost more time than they are worth


def can_have_means(est: Any, table: Table) -> bool:
    """Return whether there are embedded categories, and a target with few enough values for their means."""
    return est.module is None and table.codes is not None and table.target.shape[1] <= MAX_MEANS


def random_folds(n_rows: int, n_others: int) -> Tensor:
    """Return the fold of each training row, from 1 to `MEAN_FOLDS`, and 0 for each of the other rows after them.

    They are the same for every `random_state`, so that the fits of a search can share a table.
    """
    folds = np.random.default_rng(0).permutation(np.arange(n_rows) % MEAN_FOLDS + 1)
    return torch.from_numpy(np.pad(folds, (0, n_others)))


@torch.no_grad()
def set_target_means(network: Network, data: TrainingSet) -> None:
    """Set the means of all members that have them, each from its own training rows."""
    for part, of_part in zip(network.parts, data.of_parts(network), strict=True):
        layer = part.categorical if isinstance(part, MLP) else None
        if layer is not None and layer.n_means:
            for means, rows in zip(layer.means, of_part.train_rows, strict=True):
                means.copy_(target_means(layer, data.table, rows))


def target_means(layer: CategoricalEmbedding, table: Table, rows: Tensor) -> Tensor:
    """Return the means of each level's rows, less the mean of all rows, in standard deviations of the target.

    The result has shape ((1 + folds) * levels, K). Its first block holds the means over all of `rows`, and block k
    those over the rows that are not in fold k. They are squashed smoothly to -1 ... 1: if the target is skewed, a few
    levels have means far from the others, and with so few rows a network does not learn what to do with these.
    """
    y, codes, fold = table.target[rows].double(), table.codes[rows], table.fold[rows]  # type: ignore[index]
    weight = torch.ones_like(y[:, 0]) if table.weight is None else table.weight[rows].double()
    mean = (y * weight[:, None]).sum(0) / weight.sum()
    y = y - mean
    deviation = ((y**2 * weight[:, None]).sum(0) / weight.sum()).sqrt()
    y = torch.where(deviation > 0, y / deviation, 0)
    of_features = [means_of_feature(y, weight, codes[:, j], fold, n) for j, n in enumerate(layer.n_levels)]
    means = torch.cat(of_features, 1).flatten(0, 1)
    return (means / (1 + means**2).sqrt()).to(table.target)


def means_of_feature(y: Tensor, weight: Tensor, codes: Tensor, fold: Tensor, n_levels: int) -> Tensor:
    """Return the means (1 + folds, levels, K) of one category, shrunk to 0, which is the mean of all rows."""
    shape = (MEAN_FOLDS + 1, n_levels)
    cells = fold * n_levels + codes

    def sums_of(values: Tensor) -> Tensor:
        """Return the sums over each level's rows: all of them (block 0), and those outside each fold."""
        sums = values.new_zeros(shape[0] * n_levels, values.shape[1]).index_add_(0, cells, values).view(*shape, -1)
        return sums.sum(0, keepdim=True) - sums

    n = sums_of(weight[:, None])
    total = sums_of(y * weight[:, None])
    return total / (n + noise_ratio(y, weight, codes, n_levels)).clamp_min(torch.finfo(n.dtype).tiny)


def noise_ratio(y: Tensor, weight: Tensor, codes: Tensor, n_levels: int) -> Tensor:
    """Return the variance of the target within levels over that between the levels' true means, for each column of y.

    It is the number of rows of a level at which its mean is as reliable as the mean of all rows; infinite if the means
    differ no more than those of random groups. From the analysis of variance with random effects (Searle, Casella and
    McCulloch 1992, "Variance components", section 3.6). `y` (n, K) has the mean 0.
    """
    n = weight.new_zeros(n_levels).index_add_(0, codes, weight)
    sums = y.new_zeros(n_levels, y.shape[1]).index_add_(0, codes, y * weight[:, None])
    present = n > 0
    n, sums = n[present], sums[present]
    total, n_groups = n.sum(), len(n)
    between = (sums**2 / n[:, None]).sum(0)
    within = ((y**2 * weight[:, None]).sum(0) - between).clamp_min(0) / (total - n_groups).clamp_min(1)
    spread = (between - (n_groups - 1) * within) / (total - (n**2).sum() / total).clamp_min(1e-12)
    return torch.where(spread > 0, within / spread, torch.inf)
