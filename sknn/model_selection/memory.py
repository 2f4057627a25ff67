"""Free memory, and the number of networks to train jointly in it."""

import os

import torch

from sknn.training.net import TrainingNet

MAX_JOINT_WEIGHTS = 1 << 19  # on a CPU: more gain nothing, and need memory
WEIGHT_COPIES = 6  # the network, its gradient, the solver's two means, the best epoch's, the fitted estimator's
ASSUMED_BYTES = 4e9  # on systems that do not report their free memory


def free_memory(device: torch.device | None = None) -> float:
    """Return the free bytes of a GPU, or of the machine."""
    if device is not None and device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if "SC_AVPHYS_PAGES" not in getattr(os, "sysconf_names", ()):
        return ASSUMED_BYTES
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def max_joint_networks(net: TrainingNet) -> int:
    """Return the largest number of networks of this size to train jointly."""
    network = net.module
    n_networks = free_memory(network.device) / 4 / (WEIGHT_COPIES * network.n_bytes)
    if network.device.type != "cuda":
        n_networks = min(n_networks, MAX_JOINT_WEIGHTS / max(part.param_buffer.numel() for part in network.parts))
    return max(1, int(n_networks))
