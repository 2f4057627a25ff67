"""Train the network with cross-validation, and log the run in MLflow."""

from pathlib import Path

import mlflow
import pandas as pd
from sklearn.model_selection import StratifiedKFold
from stage import parameters, read, start_run, write_csv, write_json

import sknn
from sknn.model_selection import cross_validate
from sknn.registry import file_digest

params = parameters("train")
folds, seed = params.pop("folds"), params.pop("seed")
X, y = read("train")
clf = sknn.NeuralClassifier(**params, random_state=seed)

scores = cross_validate(
    clf, X, y, cv=StratifiedKFold(folds, shuffle=True, random_state=seed), scoring=["neg_log_loss", "accuracy"]
)
clf.fit(X, y)

metrics = {
    "log_loss": -scores["test_neg_log_loss"].mean(),
    "log_loss_std": scores["test_neg_log_loss"].std(),
    "accuracy": scores["test_accuracy"].mean(),
}
Path("models").mkdir(exist_ok=True)
sknn.save(clf, "models/tumour.sknn")
write_json(metrics, "metrics/cross_validation.json")
write_csv(pd.DataFrame({"epoch": range(1, clf.n_iter_ + 1), "loss": clf.loss_curve_}), "plots/training.csv")
with start_run() as run:
    mlflow.log_params(params | {"folds": folds, "seed": seed})
    mlflow.log_param("training_digest", file_digest("data/train.parquet"))
    mlflow.log_metrics({f"cv_{name}": value for name, value in metrics.items()})
    Path("models/run_id.txt").write_text(run.info.run_id)
print(f"log loss {metrics['log_loss']:.3f}, accuracy {metrics['accuracy']:.3f} over {folds} folds")
