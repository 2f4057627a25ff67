"""Predict with an exported model by ONNX Runtime and numpy. Neither torch nor scikit-learn is imported."""

from sknn.onnx_predictor.outputs import ModelOutput, Outputs
from sknn.onnx_predictor.predictor import OnnxPredictor
from sknn.onnx_predictor.rows import ModelInput

__all__ = ["ModelInput", "ModelOutput", "OnnxPredictor", "Outputs"]
