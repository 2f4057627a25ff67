"""Weigh the kinds of members by the loss of their mean on held-out rows."""

import torch
from torch import Tensor

from sknn.network.losses import Loss
from sknn.network.metrics import weighted_mean
from sknn.training.net import TrainingNet
from sknn.training.plan import TrainingSet

ROUNDS = 25
PRIOR_ROWS = 50  # held-out rows that count for equal weights, so that few rows can't decide alone


def choose_weights(net: TrainingNet, data: TrainingSet) -> None:
    """Set the weights of a trained net's members, if it has several kinds and rows were held out.

    Greedy selection with replacement (Caruana et al. 2004, "Ensemble selection from libraries of models"): in each
    round the kind is added that reduces the loss of the mean most. A kind's share of the rounds is divided by the
    number of its members.
    """
    sizes = [part.n_members for part in net.module_.parts]
    was_interrupted = sum(sizes) < len(data.train_rows)  # members without a step have left
    if len(sizes) < 2 or not data.valid_rows or was_interrupted:
        return
    p, y, weight = held_out_predictions(net, data, min(sizes))
    shares = greedy_shares(net.criterion_, p, y, weight)
    n_rows = y.shape[0]
    shares = shrink(shares, torch.ones_like(shares) / len(sizes), n_rows)
    of_members = [share / n for share, n in zip(shares.tolist(), sizes, strict=True) for _ in range(n)]
    for state, value in zip(net.member_states_, of_members, strict=True):
        state.weight = value


def held_out_predictions(net: TrainingNet, data: TrainingSet, n_folds: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return each kind's predictions (kinds, n, K) of held-out rows, their targets (n, K) and their weights.

    The first `n_folds` members of every kind hold out the same rows, and each row is predicted by the member of the
    kind that held it out.
    """
    network, of_kinds = net.module_, []
    with torch.inference_mode():
        for part, of_part in zip(network.parts, data.of_parts(network), strict=True):
            with part.compute_context(max(len(rows) for rows in of_part.valid_rows)):
                z = [
                    part.outputs(of_part.table.inputs(rows[None]), slice(member, member + 1))[0]
                    for member, rows in enumerate(of_part.valid_rows[:n_folds])
                ]
            of_kinds.append(net.criterion_.link(torch.cat(z)))
        rows, table = torch.cat(data.valid_rows[:n_folds]), data.table
        return torch.stack(of_kinds), table.target[rows], None if table.weight is None else table.weight[rows]


def greedy_shares(criterion: Loss, p: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """Return the share of the rounds in which each of the predictions `p` (kinds, n, K) is chosen."""
    total, counts = torch.zeros_like(p[0]), torch.zeros(len(p), dtype=torch.float64)
    for chosen in range(1, ROUNDS + 1):
        losses = losses_of(criterion, (total + p) / chosen, y, weight)
        best = int(losses.nan_to_num(torch.inf, torch.inf).argmin())
        total, counts[best] = total + p[best], counts[best] + 1
    return counts / ROUNDS


def losses_of(criterion: Loss, p: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """Return the mean loss of each of the predictions `p` (kinds, n, K)."""
    y, weight = y.expand_as(p), None if weight is None else weight.expand(p.shape[:2])
    return weighted_mean(criterion.rows(criterion.inverse_link(p), y), weight)


def shrink(shares: Tensor, equal: Tensor, n_rows: int) -> Tensor:
    """Return the shares, moved towards the equal ones; the fewer rows they were chosen on, the further."""
    return (shares * n_rows + equal * PRIOR_ROWS) / (n_rows + PRIOR_ROWS)
