"""Models for other runtimes."""

from sknn.export.torch_program import to_torch_program

__all__ = ["to_torch_program"]
