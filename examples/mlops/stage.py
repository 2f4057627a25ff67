"""What the stages share: the parameters, the target column, and the registry in this folder."""

import json
from pathlib import Path

import mlflow
import pandas as pd
import yaml

TARGET = "diagnosis"
TRACKING_URI = "sqlite:///mlflow.db"
EXPERIMENT = "tumour"


def parameters(stage):
    return yaml.safe_load(Path("params.yaml").read_text())[stage]


def read(name):
    """Return the columns and the target of a part of the data."""
    frame = pd.read_parquet(f"data/{name}.parquet")
    return frame.drop(columns=TARGET), frame[TARGET]


def write_json(values, path):
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(json.dumps(values, indent=2) + "\n")


def write_csv(frame, path):
    Path(path).parent.mkdir(exist_ok=True)
    frame.to_csv(path, index=False)


def start_run():
    """Start a run of MLflow in this folder's store."""
    mlflow.set_tracking_uri(TRACKING_URI)
    if mlflow.get_experiment_by_name(EXPERIMENT) is None:
        mlflow.create_experiment(EXPERIMENT, artifact_location=Path("mlruns").absolute().as_uri())
    mlflow.set_experiment(EXPERIMENT)
    return mlflow.start_run()


def training_run_id():
    return Path("models/run_id.txt").read_text()
