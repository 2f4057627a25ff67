"""Evaluate the model on the validation rows, beside the best constant prediction."""

import mlflow
import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score, roc_curve
from stage import TRACKING_URI, read, training_run_id, write_csv, write_json

import sknn

clf = sknn.load("models/tumour.sknn")
X, y = read("validation")
p = clf.predict_proba(X)
malignant = p[:, list(clf.classes_).index("malignant")]
shares = y.map(y.value_counts(normalize=True))

metrics = {
    "log_loss": log_loss(y, p),
    "log_loss_of_constant": -np.log(shares).mean(),
    "accuracy": accuracy_score(y, clf.predict(X)),
    "roc_auc": roc_auc_score(y == "malignant", malignant),
}
write_json(metrics, "metrics/validation.json")
false_positives, true_positives, _ = roc_curve(y == "malignant", malignant)
write_csv(pd.DataFrame({"false_positive_rate": false_positives, "true_positive_rate": true_positives}), "plots/roc.csv")
client = mlflow.MlflowClient(TRACKING_URI)
for name, value in metrics.items():
    client.log_metric(training_run_id(), f"validation_{name}", value)
print(", ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
