"""Write the collection of saved files for the present format: `python tests/saved/make.py`, before a release.

A model of each kind, beside what it predicts. Every later version reads them, as
`tests/persistence/test_saved_files.py` checks, so files that are there are never written again.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

import sknn
from sknn import NeuralClassifier, NeuralRegressor
from sknn.persistence import FORMAT_VERSION

N = 36
TINY = dict(hidden_layer_sizes=(3,), max_iter=2, ensemble_size=2, random_state=0, n_threads=1, device="cpu")


class Net(nn.Module):
    """The custom module of the collection, which its reader has to give."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(in_features, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, out_features))

    def forward(self, x):
        return self.body(x)


def models():
    """Name, fitted model, and rows to predict."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(N, 3)).round(3)
    frame = pd.DataFrame(numbers[:, :2], columns=["size", "price"])
    frame = frame.assign(city=["Oslo", "Rome", None] * 12, code=[f"c{i % 9}" for i in range(N)])
    frame.loc[::5, "size"] = None
    text = frame.assign(text=["good fun", "bad film", "so so"] * 12)
    value = numbers[:, 0] - numbers[:, 1]
    label = np.where(value > 0, "up", "down")
    steps = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["size", "price"]),
            ("city", OneHotEncoder(handle_unknown="ignore"), ["city"]),
            ("text", TfidfVectorizer(), "text"),
        ]
    )
    yield "classifier", NeuralClassifier(**TINY).fit(frame, label), frame
    yield "multilabel", NeuralClassifier(**TINY, batch_norm=True).fit(numbers, (numbers > 0).astype(int)), numbers
    yield (
        "quantiles",
        NeuralRegressor(**TINY, loss="quantile", quantile=(0.1, 0.9)).partial_fit(numbers, value),
        numbers,
    )
    yield "embeddings", NeuralRegressor(**TINY, numeric_embedding="piecewise_linear").fit(frame, value), frame
    yield "module", NeuralRegressor(**TINY, module=Net).fit(numbers, value), numbers
    yield "pipeline", make_pipeline(steps, NeuralClassifier(**TINY)).fit(text, label), text


def predicted(model, rows):
    return model.predict_proba(rows) if hasattr(model, "predict_proba") else model.predict(rows)


def main():
    folder = Path(__file__).parent / f"format_{FORMAT_VERSION}"
    folder.mkdir(exist_ok=True)
    for name, model, rows in models():
        if (folder / f"{name}.sknn").exists():
            print(f"{name}: there already")
            continue
        sknn.save(model, folder / f"{name}.sknn")
        few = rows[:8]
        content = {
            "rows": json.loads(pd.DataFrame(few).to_json(orient="split", index=False)),
            "is_frame": hasattr(few, "columns"),
        }
        content["predicted"] = predicted(model, few).tolist()
        (folder / f"{name}.json").write_text(json.dumps(content))
        print(f"{name}: {(folder / f'{name}.sknn').stat().st_size} bytes")


if __name__ == "__main__":
    main()
