"""Trained pipelines for other programs: one ONNX graph of the whole."""

import importlib.util

from sknn.export.onnx_converters import register_all
from sknn.export.onnx_export import to_onnx

if importlib.util.find_spec("skl2onnx") is not None:  # so that skl2onnx's own functions know our estimators, too
    register_all()

__all__ = ["to_onnx"]
