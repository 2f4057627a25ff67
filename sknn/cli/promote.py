"""`sknn promote`: make a registered version the champion if it is better, or go back to the former champion."""

import argparse
import os
from pathlib import Path
from typing import Any

from sknn.cli.tables import read_table

NOT_BETTER = 3
EPILOG = """\
examples:
  sknn promote churn --challenger 3 --data heldout.parquet --target left
  sknn promote churn --challenger 3 --data heldout.parquet --target left --metric accuracy --alpha 0.01 --dry-run
  sknn promote churn --rollback

exit codes: 0 promoted or rolled back, 1 error, 2 invalid arguments, 3 the challenger is not shown to be better
"""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "promote",
        help="make a registered version the champion if it is better",
        description="Compare a version in an MLflow registry with the champion on held-out rows, and move the alias\n"
        "'champion' to it only if it is better.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", help="the registered model")
    parser.add_argument("--challenger", type=int, metavar="VERSION", help="the version to promote")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="the held-out rows, the same file as at registration; .csv or .parquet",
    )
    parser.add_argument("--target", metavar="COLUMN", help="the column of the held-out rows to predict")
    parser.add_argument(
        "--metric", help="log_loss (default) or accuracy; for a regressor squared_error (default) or absolute_error"
    )
    parser.add_argument(
        "--alpha",
        type=float,
        default=0.05,
        help="share of equal challengers that are promoted by chance (default 0.05)",
    )
    parser.add_argument("--tracking-uri", metavar="URI", help="the registry; by default $MLFLOW_TRACKING_URI")
    parser.add_argument("--dry-run", action="store_true", help="compare and leave the registry as it is")
    parser.add_argument("--rollback", action="store_true", help="make the former champion the champion again")
    parser.set_defaults(run=run, usage_error=parser.error)


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

    missing = [f"--{name}" for name in ("challenger", "data", "target") if getattr(options, name) is None]
    if missing:
        options.usage_error(f"the following arguments are required without --rollback: {', '.join(missing)}")
    frame = read_table(options.data)
    if options.target not in frame:
        raise ValueError(
            f"--target {options.target} is not a column of {options.data}, which has {list(frame.columns)}"
        )
    decision = promote(
        options.name,
        frame.drop(columns=options.target),
        frame[options.target],
        challenger=options.challenger,
        data_digest=file_digest(options.data),
        metric=options.metric,
        alpha=options.alpha,
        dry_run=options.dry_run,
        tracking_uri=options.tracking_uri,
    )
    print(decision)
    return 0 if decision.promoted else NOT_BETTER
