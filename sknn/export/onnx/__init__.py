"""Fitted estimators and pipelines as ONNX graphs."""
