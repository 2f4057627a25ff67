"""Random generators, an independent one for each member of a network and each purpose."""

import numpy as np
import torch
from torch import Tensor

# A source of random bits. On a CPU it is numpy's SFC64, which takes a third of the time of torch's Mersenne twister.
BitGenerator = torch.Generator | np.random.BitGenerator


def member_generator(seed: int, member: int, key: str, device: torch.device, start: int = 0) -> torch.Generator:
    """Return the generator of a member for the purpose `key`, from epoch `start` on."""
    generator = torch.Generator(device if device.type == "cuda" else "cpu")
    return generator.manual_seed(_member_seed(seed, member, key, start))


def member_bit_generator(seed: int, member: int, key: str, device: torch.device, start: int = 0) -> BitGenerator:
    """Return the generator of a member for `fill_random_bits`; arguments as in `member_generator`."""
    if device.type == "cuda":
        return member_generator(seed, member, key, device, start)
    return np.random.SFC64(_member_seed(seed, member, key, start))


def fill_random_bits(words: Tensor, generator: BitGenerator) -> None:
    """Fill a tensor of int64 with random bits."""
    if isinstance(generator, torch.Generator):
        words.random_(-(2**63), None, generator=generator)
    else:
        # Copying raw words with numpy takes a third of the time of `integers` and `copy_`.
        words.numpy().view(np.uint64)[...] = generator.random_raw(words.numel()).reshape(words.shape)


def _member_seed(seed: int, member: int, key: str, start: int) -> int:
    entropy = [seed, member, start, *key.encode()]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))
