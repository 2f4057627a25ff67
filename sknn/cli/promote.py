"""`sknn promote`: make a registered version the champion if it is better, or go back to the former champion."""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from sknn.cli.arguments import add_command
from sknn.cli.models import SavedModel, load_model
from sknn.cli.tables import require_column

NOT_BETTER = 3
DETAILS = """\
The version is compared with the version that has the alias 'champion' in an
MLflow registry, on the rows that were held out when it was registered. The
alias moves only if it is better. Rows without a target are left out.

exit codes: 0 promoted or rolled back, 2 error, 3 not shown to be better
"""
EXAMPLES = """\
  sknn promote churn --challenger 3 --data heldout.parquet
  sknn promote churn --challenger 3 --data heldout.csv --alpha 0.01 --dry-run
  sknn promote churn --rollback
"""


def add_parser(commands: Any) -> None:
    parser = add_command(
        commands, "promote", run, "make a registered version the champion if it is better", DETAILS, EXAMPLES
    )
    parser.add_argument("name", help="the registered model")
    parser.add_argument("--challenger", type=int, metavar="VERSION", help="the version to promote")
    parser.add_argument(
        "--data", type=Path, metavar="FILE", help="the held-out rows: the very file whose digest was registered"
    )
    parser.add_argument(
        "--target", metavar="COLUMN", help="the column with the true values; by default the one that the model knows"
    )
    parser.add_argument(
        "--metric", help="log_loss (default) or accuracy; for numbers squared_error (default) or absolute_error"
    )
    parser.add_argument(
        "--alpha",
        type=float,
        default=0.05,
        help="share of equally good versions that are promoted by chance (default 0.05)",
    )
    parser.add_argument("--tracking-uri", metavar="URI", help="the registry; by default $MLFLOW_TRACKING_URI")
    parser.add_argument("--dry-run", action="store_true", help="compare and leave the registry as it is")
    parser.add_argument("--rollback", action="store_true", help="make the former champion the champion again")
    parser.set_defaults(usage_error=parser.error)


def run(options: argparse.Namespace) -> int:
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # only the command line owns the process
    return _roll_back(options) if options.rollback else _promote(options)


def _roll_back(options: argparse.Namespace) -> int:
    from sknn.registry import rollback

    if options.challenger is not None or options.data is not None or options.dry_run:
        options.usage_error("--rollback goes without --challenger, --data and --dry-run")
    version = rollback(options.name, tracking_uri=options.tracking_uri)
    print(f"Version {version.version} is the champion of {version.name} again.")
    return 0


def _promote(options: argparse.Namespace) -> int:
    from sknn.registry import file_digest, promote

    missing = [f"--{name}" for name in ("challenger", "data") if getattr(options, name) is None]
    if missing:
        options.usage_error(f"the following arguments are required without --rollback: {', '.join(missing)}")
    rows, y = _read_rows(options, _load_challenger(options))
    decision = promote(
        options.name,
        rows,
        y,
        challenger=options.challenger,
        data_digest=file_digest(options.data),
        metric=options.metric,
        alpha=options.alpha,
        dry_run=options.dry_run,
        tracking_uri=options.tracking_uri,
    )
    print(decision)
    return 0 if decision.promoted else NOT_BETTER


def _load_challenger(options: argparse.Namespace) -> SavedModel:
    from sknn.registry import download, find_version

    version = find_version(f"models:/{options.name}/{options.challenger}", tracking_uri=options.tracking_uri)
    with tempfile.TemporaryDirectory() as folder:
        return load_model(download(version, folder))


def _read_rows(options: argparse.Namespace, model: SavedModel) -> tuple[Any, Any]:
    """Return the held-out rows, read as the model's columns, and their targets."""
    name = options.target or model.target
    if name is None:
        raise ValueError("the model does not know the name of its target; name the column: --target COLUMN")
    frame = model.read(options.data, name)
    require_column(options.data, list(frame.columns), name)
    frame = frame[frame[name].notna()]
    return frame.drop(columns=name), frame[name]
