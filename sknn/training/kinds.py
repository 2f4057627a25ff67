"""Choose the kinds of members: the settings in which the members of an ensemble differ.

Tables differ in which network suits them far more than random seeds do: batch norm takes a fifth off the loss of one
table, and piecewise-linear embeddings off that of another, and each makes some tables worse. So members of both kinds
are trained, and the weights of the kinds are chosen on held-out rows; see `sknn.training.weights`.
"""

from dataclasses import dataclass
from typing import Any

import scipy.sparse as sp

from sknn.network.base import Network
from sknn.network.mlp import MLP
from sknn.training.table import Table
from sknn.training.target_means import can_have_means

EMBEDDED_COLUMNS = 100  # embedding more columns takes too much time for the accuracy that it adds

Settings = tuple[bool, str | None, bool]  # batch norm, numeric embedding, target means


@dataclass(frozen=True)
class Kind:
    """Settings that members share, and the number of these members.

    Attributes
    ----------
    n_members : int
    batch_norm : bool
    numeric_embedding : str or None
    target_means : bool
    """

    n_members: int
    batch_norm: bool
    numeric_embedding: str | None
    target_means: bool


def member_kinds(est: Any, table: Table, n_members: int, may_differ: bool = True) -> list[Kind]:
    """Return the kinds of an ensemble, in the order of its members.

    What a parameter fixes is the same for all members. What it leaves at "auto" differs between the members if there
    are several, they train in epochs on a whole table (`may_differ`), and the built-in network is used.
    """
    n_numeric = 0 if est.module is not None or sp.issparse(table.numeric) else len(est._features.numeric_)
    can_embed = 0 < n_numeric <= EMBEDDED_COLUMNS
    may_differ = may_differ and n_members > 1 and est.module is None and est.solver != "lbfgs"
    distinct: dict[Settings, None] = {}
    for norm, embedding, means in _differing(est, can_embed) if may_differ else [(False, None, False)]:
        norm = bool(_fixed(est.batch_norm, norm))
        embedding = _fixed(est.numeric_embedding, embedding) if n_numeric else None
        means = bool(_fixed(est.target_means, means)) and can_have_means(est, table)
        distinct[norm, embedding, means] = None
    shares = [len(range(i, n_members, len(distinct))) for i in range(len(distinct))]
    return [Kind(n, *settings) for n, settings in zip(shares, distinct, strict=True) if n]


def kinds_of(network: Network) -> list[Kind]:
    """Return the kinds of members that a network has."""
    settings = [part.init_args if isinstance(part, MLP) else {} for part in network.parts]
    return [
        Kind(part.n_members, bool(own.get("batch_norm")), own.get("numeric_embedding"), bool(own.get("n_means")))
        for part, own in zip(network.parts, settings, strict=True)
    ]


def _differing(est: Any, can_embed: bool) -> list[Settings]:
    """Return the settings of the kinds, for parameters that are left at "auto"."""
    if can_embed and est.numeric_embedding == "auto":
        return [(True, None, True), (False, "piecewise_linear", False)]
    return [(False, None, False), (True, None, True)]


def _fixed(setting: Any, otherwise: Any) -> Any:
    return otherwise if isinstance(setting, str) and setting == "auto" else setting
