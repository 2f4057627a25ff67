"""Random generators, one for each member of a network and each purpose."""

import numpy as np
import torch
from torch import Tensor


def member_generator(seed: int, member: int, key: str, device: torch.device, start: int = 0) -> torch.Generator:
    """A generator for one purpose of one member, from epoch `start` on; no two of them are related."""
    return torch.Generator(_generates_on(device)).manual_seed(_own_seed(seed, member, key, start))


# Of plain random bits: on a CPU numpy's SFC64, which takes a third of the time of torch's Mersenne twister.
BitGenerator = torch.Generator | np.random.BitGenerator


def member_bit_generator(seed: int, member: int, key: str, device: torch.device, start: int = 0) -> BitGenerator:
    """Like `member_generator`, for `fill_random_bits`."""
    if device.type == "cuda":
        return member_generator(seed, member, key, device, start)
    return np.random.SFC64(_own_seed(seed, member, key, start))


def fill_random_bits(words: Tensor, generator: BitGenerator) -> None:
    """Fill a tensor of int64 with random bits."""
    if isinstance(generator, torch.Generator):
        words.random_(-(2**63), None, generator=generator)
    else:
        # Raw words, copied by numpy, take a third of the time of `integers` and `copy_`.
        words.numpy().view(np.uint64)[...] = generator.random_raw(words.numel()).reshape(words.shape)


def _generates_on(device: torch.device) -> torch.device | str:
    return device if device.type == "cuda" else "cpu"


def _own_seed(seed: int, member: int, key: str, start: int) -> int:
    entropy = [seed, member, start, *key.encode()]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))
