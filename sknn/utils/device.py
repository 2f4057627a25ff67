"""Resolve the parameters `device` and `precision` to torch's devices and dtypes."""

from dataclasses import dataclass

import torch

DEVICES = ("auto", "cpu", "cuda", "mps", "xla")
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.float32, "auto": torch.float32}


def resolve_device(device: str) -> torch.device:
    """Return the torch device of a `device` parameter.

    Raises
    ------
    ValueError
        If the device does not exist, or not on this machine.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind = device.partition(":")[0]
    if kind not in DEVICES:
        raise ValueError(f"device={device!r} is unknown; use one of {', '.join(DEVICES)}, or a number, as in 'cuda:1'.")
    if kind == "xla":
        return _xla_device()
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device!r} is not a device name: {error}") from error
    if kind == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device={device!r} is not on this machine, which has {torch.cuda.device_count()} CUDA devices; "
            "use device='cpu', or 'auto' for the best available one."
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device={device!r} is not on this machine; use device='cpu', or 'auto'.")
    return resolved


def _xla_device() -> torch.device:
    try:
        import torch_xla.core.xla_model as xla_model
    except ImportError as error:
        raise ValueError("device='xla' (TPU) needs the package torch_xla; install it, or use device='auto'.") from error
    return xla_model.xla_device()


@dataclass(frozen=True)
class Precision:
    """The dtype of the parameters, and that of matrix products if it differs."""

    dtype: torch.dtype
    product_dtype: torch.dtype | None = None


def resolve_precision(precision: str, device: torch.device) -> Precision:
    """Return the dtypes of a `precision` parameter; "auto" is float32 (callers use float64 for 'lbfgs')."""
    if precision == "float64" and device.type == "mps":
        raise ValueError("precision='float64' is not supported on device='mps'; use 'float32' or another device.")
    return Precision(DTYPES[precision], torch.bfloat16 if precision == "bfloat16" else None)
