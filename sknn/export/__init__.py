"""Export fitted models for other programs: ONNX, Triton, TensorFlow and torch."""

import importlib.util

from sknn.export.onnx.export import to_onnx
from sknn.export.onnx.skl2onnx_hooks import register_all
from sknn.export.tensorflow.saved_model import to_saved_model
from sknn.export.torch.program import to_torch_program
from sknn.export.triton.repository import to_triton

if importlib.util.find_spec("skl2onnx") is not None:  # so that skl2onnx's own functions convert our estimators, too
    register_all()

__all__ = ["to_onnx", "to_saved_model", "to_torch_program", "to_triton"]
