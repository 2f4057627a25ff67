"""`NeuralClassifier` and `NeuralRegressor`: parameters, fit, predict, fitted attributes."""
