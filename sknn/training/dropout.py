"""Draw the random factors of dropout for all members and many steps at once."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sknn.utils.random import BitGenerator, fill_random_bits


class DropoutNoise:
    """Draws the factors that dropout multiplies by: 0 or 1 / (1 - rate).

    Random 64-bit words are read as four 16-bit numbers each and compared with a threshold, so a rate is kept to 1 in
    65,536.  A member's words come from its own stream, batch by batch, however many batches are drawn at once.  Members
    of one stream and equal rates, as candidates of a search that differ elsewhere, have the same factors, which are
    worked out once.

    Parameters
    ----------
    layers : list of (width, rates)
        Each dropout layer's width and rate per member.
    generators : list of BitGenerator, one per member
        One and the same for members that have the same stream and are always drawn together.
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
        levels = levels.view(len(layers), len(generators))  # of no layers, too
        self.thresholds = (levels - 32768).to(device, torch.int16)[:, :, None, None]  # (layers, M, 1, 1)
        self.scales = (65536 / (65536 - levels).double())[:, :, None, None]  # not every device has float64
        drops = levels.any(0).tolist()  # of the others, everything is kept, whatever the bits
        self.generators = [generator if drop else None for generator, drop in zip(generators, drops, strict=True)]
        self.keys = [(id(g), *rates) for g, rates in zip(self.generators, levels.T.tolist(), strict=True)]
        self._kinds: dict[tuple[int, int], NoiseKinds] = {}

    def draw(self, members: slice, batches: int, size: int, like: Tensor) -> list[Tensor]:
        """Noise (batches, M, size, width) for each layer."""
        if not self.widths:
            return []
        kinds = self._kinds_of(members, like)
        shorts = self._bits(kinds, batches, -(-size * sum(self.widths) // 4)).view(torch.int16)
        noise, start = [], 0
        for width, threshold, scale in zip(self.widths, kinds.thresholds, kinds.scales, strict=True):
            part = shorts[..., start : start + size * width].reshape(batches, -1, size, width)
            kept = torch.ge(part, threshold, out=like.new_empty((batches, len(threshold), size, width)))
            noise.append(chosen_from(kept.mul_(scale), kinds.places))
            start += size * width
        return noise

    def _kinds_of(self, members: slice, like: Tensor) -> "NoiseKinds":
        """What these members draw, worked out once: on a GPU, whoever brings a number there waits."""
        key = members.start, members.stop
        if key not in self._kinds:
            firsts, places = distinct(self.keys[members])
            chosen = [members.start + first for first in firsts]
            heads, sources = distinct([self.generators[m] for m in chosen])
            self._kinds[key] = NoiseKinds(
                [self.generators[chosen[head]] for head in heads],
                None if len(heads) in (1, len(sources)) else torch.tensor(sources, device=like.device),
                self.thresholds[:, chosen],
                self.scales[:, chosen].to(like),
                None if len(firsts) == len(places) else torch.tensor(places, device=like.device),
            )
        return self._kinds[key]

    @staticmethod
    def _bits(kinds: "NoiseKinds", batches: int, words: int) -> Tensor:
        """Words (batches, kinds, words); (batches, 1, words) if all kinds draw from one stream."""
        raw = torch.empty((batches, len(kinds.streams), words), dtype=torch.int64, device=kinds.thresholds.device)
        for part, generator in zip(raw.unbind(1), kinds.streams, strict=True):
            if generator is not None:
                fill_random_bits(part, generator)
        return chosen_from(raw, kinds.sources)

    def select(self, members: list[int]) -> None:
        self.thresholds, self.scales = self.thresholds[:, members], self.scales[:, members]
        self.generators = [self.generators[m] for m in members]
        self.keys = [self.keys[m] for m in members]
        self._kinds.clear()


@dataclass(slots=True)
class NoiseKinds:
    """What some members draw: a kind for all that have the same stream and the same rates.

    Attributes
    ----------
    streams : list
        Of random bits; None in place of one of which nothing is dropped.
    sources : Tensor of shape (kinds,), optional
        Each kind's stream, if there are several, and two kinds share one.
    thresholds, scales : Tensor of shape (layers, kinds, 1, 1)
    places : Tensor of shape (M,), optional
        Each member's kind, if two share one.
    """

    streams: list[BitGenerator | None]
    sources: Tensor | None
    thresholds: Tensor
    scales: Tensor
    places: Tensor | None


def chosen_from(t: Tensor, places: Tensor | None) -> Tensor:
    """Of (batches, n, ...) those at the places, or all."""
    return t if places is None else t.index_select(1, places)


def distinct(values: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """Where each distinct value stands first, and of every value, which of the distinct ones it is.

    >>> distinct(["a", "b", "a", "c"])
    ([0, 1, 3], [0, 1, 0, 2])
    """
    firsts: dict[Hashable, int] = {}
    for place, value in enumerate(values):
        firsts.setdefault(value, place)
    numbers = {value: number for number, value in enumerate(firsts)}
    return list(firsts.values()), [numbers[value] for value in values]
