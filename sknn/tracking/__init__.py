"""Log whole fits to TensorBoard, Weights & Biases or MLflow, by callbacks or by `autolog`."""
