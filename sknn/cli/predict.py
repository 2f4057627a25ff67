"""`sknn predict`: write the predictions of a saved model for a table."""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from sknn.cli.arguments import MODEL_HELP, TABLE_HELP, add_command, add_output, prepare_output
from sknn.cli.models import SavedModel, load_model
from sknn.cli.report import count
from sknn.cli.tables import CATEGORY, check_suffix, read_table, require_column, write_table

DETAILS = """\
The result has a row for each row of the table, in its order, with the column
"prediction". For classes it has the columns "probability_CLASS", too.
"""
EXAMPLES = """\
  sknn predict churn.sknn customers.csv -o predictions.csv
  sknn predict churn.onnx customers.parquet --keep id -o predictions.parquet
  sknn predict churn.sknn customers.csv | head
"""


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "predict", run, "write the predictions for a table", DETAILS, EXAMPLES)
    parser.add_argument("model", type=Path, help=MODEL_HELP)
    parser.add_argument("table", type=Path, help=TABLE_HELP)
    add_output(parser, "the predictions, .csv or .parquet; by default CSV is printed")
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument(
        "--keep", action="append", default=[], metavar="COLUMN", help="copy a column of the table; repeatable"
    )
    kept.add_argument("--keep-all", action="store_true", help="copy all columns of the table")


def run(options: argparse.Namespace) -> None:
    if options.output is not None:
        check_suffix(options.output)
        prepare_output(options.output, options.table)
    model = load_model(options.model)
    frame = model.read(options.table)
    kept = _kept_columns(options, frame)
    predictions = predict_table(model, model.select(frame, options.table))
    for name in predictions.columns.intersection(kept.columns):
        raise ValueError(f"{options.table} has a column {name!r}, too; rename it, or do not keep it")
    result = kept.join(predictions)
    if options.output is None:
        result.to_csv(sys.stdout, index=False)
        return
    write_table(result, options.output)
    print(f"{options.output}: {count(len(result), 'row')}, columns {', '.join(result.columns)}")


def predict_table(model: SavedModel, X: Any) -> Any:
    """Return a pandas frame with the predictions for rows, and for a classifier the probability of each class."""
    import pandas as pd

    predicted = model.predictor.predict(X)
    if predicted.ndim == 1:
        columns = {"prediction": predicted}
    else:
        columns = {f"prediction_{j + 1}": column for j, column in enumerate(predicted.T)}
    if model.classes is not None:
        shares = model.predictor.predict_proba(X).astype(np.float32).T  # the precision of the network: short in CSV
        columns |= {f"probability_{label}": share for label, share in zip(model.classes, shares, strict=True)}
    return pd.DataFrame(columns)


def _kept_columns(options: argparse.Namespace, frame: Any) -> Any:
    """Return the columns to copy, as they are written: 007 stays 007, and 3 beside a missing number is not 3.0."""
    names = list(frame.columns)
    kept = names if options.keep_all else options.keep
    for name in kept:
        require_column(options.table, names, name)
    return read_table(options.table, dict.fromkeys(kept, CATEGORY))[kept] if kept else frame[[]]
