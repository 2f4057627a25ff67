"""Draw the random factors of dropout for all members and many steps at once."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sknn.utils.random import BitGenerator, fill_random_bits


class DropoutNoise:
    """Draws the factors that dropout multiplies by: 0 or 1 / (1 - rate).

    Random 64-bit words are read as four 16-bit numbers each and compared with a threshold, so a rate is exact to 1 in
    65,536. Each member draws its words from its own generator, batch by batch, however many batches are drawn at once.
    Members with the same generator and the same rates (candidates of a search that differ in something else) have the
    same factors, which are computed once.

    Parameters
    ----------
    layers : list of (width, rates)
        Each dropout layer's width, and its rate in each member.
    generators : list of BitGenerator, one per member
        Members that share a generator have to be drawn together always.
    device : torch.device
        Of the network.
    """

    def __init__(
        self,
        layers: list[tuple[int, Sequence[float]]],
        generators: list[BitGenerator],
        device: torch.device | str = "cpu",
    ) -> None:
        self.widths = [width for width, _ in layers]
        levels = torch.tensor([[min(round(rate * 65536), 65535) for rate in rates] for _, rates in layers])
        levels = levels.view(len(layers), len(generators))  # the shape is lost if there are no layers
        self.thresholds = (levels - 32768).to(device, torch.int16)[:, :, None, None]  # (layers, M, 1, 1)
        self.scales = (65536 / (65536 - levels).double())[:, :, None, None]  # on the CPU: not every GPU has float64
        has_dropout = levels.any(0).tolist()
        self.generators = [g if drops else None for g, drops in zip(generators, has_dropout, strict=True)]
        self.keys = [(id(g), *rates) for g, rates in zip(self.generators, levels.T.tolist(), strict=True)]
        self._draws: dict[tuple[int, int], SharedDraws] = {}

    def draw(self, members: slice, batches: int, size: int, like: Tensor) -> list[Tensor]:
        """Return noise (batches, M, size, width) for each layer, of the type of `like`."""
        if not self.widths:
            return []
        draws = self._draws_of(members, like)
        shorts = draw_bits(draws, batches, -(-size * sum(self.widths) // 4)).view(torch.int16)
        noise, start = [], 0
        for width, threshold, scale in zip(self.widths, draws.thresholds, draws.scales, strict=True):
            part = shorts[..., start : start + size * width].reshape(batches, -1, size, width)
            kept = torch.ge(part, threshold, out=like.new_empty((batches, len(threshold), size, width)))
            noise.append(take(kept.mul_(scale), draws.draw_of_member))
            start += size * width
        return noise

    def _draws_of(self, members: slice, like: Tensor) -> "SharedDraws":
        """Return what some members draw; it is kept, since copying its indices to a GPU makes the CPU wait."""
        key = members.start, members.stop
        if key not in self._draws:
            firsts, draw_of_member = distinct(self.keys[members])
            chosen = [members.start + first for first in firsts]
            heads, generator_of_draw = distinct([self.generators[m] for m in chosen])
            self._draws[key] = SharedDraws(
                [self.generators[chosen[head]] for head in heads],
                None if len(heads) in (1, len(chosen)) else torch.tensor(generator_of_draw, device=like.device),
                self.thresholds[:, chosen],
                self.scales[:, chosen].to(like),
                None if len(firsts) == len(draw_of_member) else torch.tensor(draw_of_member, device=like.device),
            )
        return self._draws[key]

    def select(self, members: list[int]) -> None:
        """Drop all members but these."""
        self.thresholds, self.scales = self.thresholds[:, members], self.scales[:, members]
        self.generators = [self.generators[m] for m in members]
        self.keys = [self.keys[m] for m in members]
        self._draws.clear()


@dataclass(slots=True)
class SharedDraws:
    """What some members draw, each distinct draw once.

    For four members, of which the first two share a generator and its rates, and the third shares the generator only::

        member              0   1   2   3
        generator           A   A   A   B
        rate               .1  .1  .5  .1

        generators          A, B
        draw                0: A at .1    1: A at .5    2: B at .1
        generator_of_draw   0             0             1
        draw_of_member      0   0   1   2

    Attributes
    ----------
    generators : list of BitGenerator or None
        None stands for members without dropout, which draw nothing.
    generator_of_draw : Tensor of shape (draws,), optional
        None if there is a single generator, or one for each draw.
    thresholds, scales : Tensor of shape (layers, draws, 1, 1)
    draw_of_member : Tensor of shape (M,), optional
        None if each member has a draw of its own.
    """

    generators: list[BitGenerator | None]
    generator_of_draw: Tensor | None
    thresholds: Tensor
    scales: Tensor
    draw_of_member: Tensor | None


def draw_bits(draws: SharedDraws, batches: int, n_words: int) -> Tensor:
    """Return random words (batches, draws, n_words), or (batches, 1, n_words) if there is a single generator."""
    shape, device = (batches, len(draws.generators), n_words), draws.thresholds.device
    words = torch.empty(shape, dtype=torch.int64, device=device)
    for part, generator in zip(words.unbind(1), draws.generators, strict=True):
        if generator is not None:
            fill_random_bits(part, generator)
    return take(words, draws.generator_of_draw)


def take(t: Tensor, indices: Tensor | None) -> Tensor:
    """Return the parts of `t` (batches, n, ...) with these indices, or all parts if `indices` is None."""
    return t if indices is None else t.index_select(1, indices)


def distinct(values: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """Return the index at which each distinct value comes first, and for every value the number of its distinct value.

    >>> distinct(["a", "b", "a", "c"])
    ([0, 1, 3], [0, 1, 0, 2])
    """
    firsts: dict[Hashable, int] = {}
    for index, value in enumerate(values):
        firsts.setdefault(value, index)
    numbers = {value: number for number, value in enumerate(firsts)}
    return list(firsts.values()), [numbers[value] for value in values]
