"""Register the model with the digests of its rows; `sknn promote` decides later whether it becomes the champion."""

import json
from pathlib import Path

from stage import TRACKING_URI, parameters, training_run_id, write_json

from sknn.registry import file_digest, register

version = register(
    "models/tumour.onnx",
    parameters("register")["name"],
    sknn_path="models/tumour.sknn",
    data_digest=file_digest("data/heldout.parquet"),
    training_digest=file_digest("data/train.parquet"),
    metrics=json.loads(Path("metrics/validation.json").read_text()),
    run_id=training_run_id(),
    tracking_uri=TRACKING_URI,
)
write_json({"uri": version.uri, "version": version.version}, "registered.json")
print(f"{version.uri} is registered")
