"""Predict with an exported model by ONNX Runtime and numpy. Neither torch nor scikit-learn is imported."""

from sknn.onnx_predictor.predictor import OnnxPredictor

__all__ = ["OnnxPredictor"]
