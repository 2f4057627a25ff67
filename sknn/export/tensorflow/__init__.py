"""ONNX graphs as TensorFlow SavedModels."""
