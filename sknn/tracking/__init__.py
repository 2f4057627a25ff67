"""Trackers: callbacks that log a whole fit to TensorBoard, Weights & Biases or MLflow."""
