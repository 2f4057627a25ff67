"""The kinds of an ensemble's members, as texts and colours for its displays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Distinguishable for colour-blind readers, also from the colours of the means, on light and on dark pages.
KIND_COLOURS = ("#00a68a", "#dd1c54", "#8a6fd6", "#8f8f00")


@dataclass(frozen=True)
class MemberKind:
    """The members of one kind.

    Attributes
    ----------
    name : str
        The settings that these members have and others don't, in words.
    members : list of int
        Their numbers.
    colour : str
    weight : float or None
        Their share of the predictions; None if it is unknown.
    """

    name: str
    members: list[int]
    colour: str
    weight: float | None = None

    def __str__(self) -> str:
        n = len(self.members)
        weight = "" if self.weight is None else f", weight {self.weight:.2f}"
        return f"{self.name}: {n} member{'' if n == 1 else 's'}{weight}"


def group_members(kinds: Sequence[str], weights: Sequence[float] | np.ndarray | None = None) -> list[MemberKind]:
    """Return the kinds of members, given the kind of each and, if known, its weight.

    >>> for kind in group_members(["batch norm", "batch norm", "plain"], [0.2, 0.2, 0.6]):
    ...     print(kind)
    batch norm: 2 members, weight 0.40
    plain: 1 member, weight 0.60
    """
    grouped = []
    for i, name in enumerate(dict.fromkeys(kinds)):
        members = [m for m, kind in enumerate(kinds) if kind == name]
        weight = None if weights is None else float(sum(weights[m] for m in members))
        grouped.append(MemberKind(name, members, KIND_COLOURS[i % len(KIND_COLOURS)], weight))
    return grouped
