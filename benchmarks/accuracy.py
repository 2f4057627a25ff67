"""Accuracy on real tables, compared with other models, and with each default changed.

    python -m benchmarks.accuracy FOLDER RESULTS.jsonl --models sknn,hgb,mlp --seeds 0,1,2
    python -m benchmarks.accuracy FOLDER RESULTS.jsonl --show

FOLDER holds a table per task, `NAME.parquet` with a column `target`, and `manifest.csv` with the columns `name` and
`task` ('regression', or anything else for classification). All models use the same split: at most `--rows` training
rows and 10,000 test rows, stratified by class. Each task, model and seed adds a line to RESULTS.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.compose import TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import log_loss, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sknn import NeuralClassifier, NeuralRegressor

ALIKE = {"batch_norm": False, "numeric_embedding": None, "target_means": False}
# Each default, changed to the usual value of other libraries, or left out.
CHANGES = {
    "one member": {"ensemble_size": 1},
    "four members": {"ensemble_size": 4},
    "twelve members": {"ensemble_size": 12},
    "without target means": {"target_means": False},
    "target means of all members": {"target_means": True},
    "members alike": ALIKE,
    "members alike, six of (256, 256)": ALIKE | {"ensemble_size": 6, "hidden_layer_sizes": (256, 256)},
    "members alike, with batch norm": ALIKE | {"batch_norm": True},
    "members alike, piecewise linear": ALIKE | {"numeric_embedding": "piecewise_linear"},
    "half as wide": {"hidden_layer_sizes": (64, 64)},
    "twice as wide": {"hidden_layer_sizes": (256, 256)},
    "ReLU": {"activation": "relu"},
    "without dropout": {"dropout": 0.0},
    "without weight decay": {"weight_decay": 0.0},
    "Adam as in scikit-learn": {"solver": "adam", "alpha": 1e-4},
    "beta_2 of 0.999": {"beta_2": 0.999},
    "a constant learning rate": {"learning_rate": "constant"},
    "half of the learning rate, 60 epochs": {"learning_rate_init": 3e-3, "max_iter": 60},
    "batches of 256": {"batch_size": 256},
    "standard scaling": {"scaling": "standard"},
    "robust scaling without factors": {"scaling": "robust"},
    "periodic embeddings": {"numeric_embedding": "periodic"},
    "label smoothing of 0.1": {"label_smoothing": 0.1},
}


def with_preprocessing(estimator):
    """Return a pipeline that imputes, scales and one-hot encodes before an estimator that takes only numbers."""
    numeric = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    categorical = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=50, sparse_output=False)
    columns = make_column_transformer(
        (numeric, make_column_selector(dtype_include="number")),
        (categorical, make_column_selector(dtype_exclude="number")),
    )
    return make_pipeline(columns, estimator)


def scaled_target(estimator):
    return TransformedTargetRegressor(estimator, transformer=StandardScaler())


def make(name, is_classification, seed):
    """Return the estimator with this name."""
    if name == "hgb":
        boosting = HistGradientBoostingClassifier if is_classification else HistGradientBoostingRegressor
        return boosting(random_state=seed, categorical_features="from_dtype")
    if name == "lightgbm":
        from lightgbm import LGBMClassifier, LGBMRegressor

        return (LGBMClassifier if is_classification else LGBMRegressor)(random_state=seed, n_jobs=1, verbose=-1)
    if name == "mlp":
        return with_preprocessing(
            MLPClassifier(random_state=seed) if is_classification else scaled_target(MLPRegressor(random_state=seed))
        )
    if name == "linear":
        return with_preprocessing(LogisticRegression(max_iter=2000) if is_classification else RidgeCV())
    change = dict(CHANGES.get(name, {}))
    if not is_classification:
        change.pop("label_smoothing", None)
    return (NeuralClassifier if is_classification else NeuralRegressor)(random_state=seed, **change)


def calibration_error(p, codes, n_bins=15):
    """Return the mean difference between confidence and accuracy, over bins of confidence."""
    confidence, correct = p.max(1), p.argmax(1) == codes
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    parts = [(bins == b) for b in np.unique(bins)]
    return float(sum(part.mean() * abs(confidence[part].mean() - correct[part].mean()) for part in parts))


def measure(path, task, name, seed, n_rows):
    """Fit once; return the CPU seconds and the scores on the test rows."""
    frame, is_classification = pd.read_parquet(path), task != "regression"
    y = frame.pop("target").astype(str if is_classification else float).to_numpy()
    if name in ("hgb", "lightgbm"):
        frame = frame.astype(dict.fromkeys(frame.select_dtypes(exclude="number"), "category"))
    if name == "lightgbm":  # it refuses some characters in names
        frame.columns = range(frame.shape[1])
    n_test = min(10_000, len(y) // 4)
    train, test = train_test_split(
        np.arange(len(y)),
        test_size=n_test,
        train_size=min(n_rows, len(y) - n_test),
        random_state=seed,
        stratify=y if is_classification else None,
    )
    estimator, started = make(name, is_classification, seed), time.process_time()
    estimator.fit(frame.iloc[train], y[train])
    result = {"task": path.stem, "model": name, "seed": seed, "n_train": len(train)}
    result["cpu_s"] = time.process_time() - started
    if not is_classification:
        return result | {"loss": root_mean_squared_error(y[test], estimator.predict(frame.iloc[test]))}
    p = np.clip(estimator.predict_proba(frame.iloc[test]).astype(float), 1e-7, 1)
    p /= p.sum(1, keepdims=True)
    codes = np.searchsorted(estimator.classes_, y[test])
    result["loss"] = log_loss(codes, p, labels=range(p.shape[1]))
    return result | {"accuracy": float((p.argmax(1) == codes).mean()), "calibration": calibration_error(p, codes)}


def show(results, baseline="sknn"):
    """Print each model compared with the baseline, on the tasks and seeds that both have."""
    table = results.pivot_table(index=["task", "seed"], columns="model")
    lines = []
    for name in results.model.unique():
        pair = table.xs(name, axis=1, level=1).join(table.xs(baseline, axis=1, level=1), rsuffix="_base")
        pair = pair.dropna(subset=["loss", "loss_base"]).groupby("task").mean()
        error = (1 - pair.accuracy) / (1 - pair.accuracy_base)
        lines.append(
            {
                "model": name,
                "tables": len(pair),
                "relative loss": np.exp(np.log(pair.loss / pair.loss_base).mean()),
                "worse on": int((pair.loss > pair.loss_base).sum()),
                "relative error": np.exp(np.log(error).mean()),
                "calibration error": pair.calibration.mean(),
                "CPU time": (pair.cpu_s / pair.cpu_s_base).median(),
            }
        )
    print(pd.DataFrame(lines).set_index("model").sort_values("relative loss").round(3).to_string())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument(
        "--models", default="sknn", help=f"sknn, hgb, lightgbm, mlp, linear, 'changes', or: {', '.join(CHANGES)}"
    )
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--show", action="store_true", help="only show the results, without new fits")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    results = [json.loads(line) for line in args.results.read_text().splitlines()] if args.results.exists() else []
    done = {(r["task"], r["model"], r["seed"]) for r in results}
    tasks = pd.read_csv(args.folder / "manifest.csv").set_index("name")["task"]
    models = ["sknn", *CHANGES] if args.models == "changes" else args.models.split(",")
    for model in [] if args.show else models:
        for seed in map(int, args.seeds.split(",")):
            for task, kind in tasks.items():
                if (task, model, seed) not in done:
                    result = measure(args.folder / f"{task}.parquet", kind, model, seed, args.rows)
                    results.append(result)
                    with args.results.open("a") as file:
                        file.write(json.dumps(result) + "\n")
                    print(
                        {key: round(value, 4) if isinstance(value, float) else value for key, value in result.items()}
                    )
    show(pd.DataFrame(results))


if __name__ == "__main__":
    main()
