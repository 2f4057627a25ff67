"""`sknn monitor`: say whether a table still looks like another one, or like the one that a model was trained on."""

import argparse
import json
from pathlib import Path
from typing import Any

from sknn.cli.arguments import TABLE_HELP, add_command, add_output, prepare_output
from sknn.cli.models import load_model
from sknn.cli.tables import read_table, require_column

DETAILS = """\
A column has drifted if its difference is significant, after a correction for
the number of columns, and large enough to matter: a population stability index
of at least 0.1. The exit code is 0, or 3 if something has drifted and
--fail-on-drift is given.
"""
EXAMPLES = """\
  sknn monitor customers_2024.csv customers_2025.csv -o drift.html
  sknn monitor churn.onnx customers_2025.parquet --fail-on-drift
  sknn monitor churn.onnx customers_2025.csv --drop city --json
"""
DRIFT = 3  # the exit code


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "monitor", run, "say whether data have drifted", DETAILS, EXAMPLES)
    parser.add_argument(
        "reference", type=Path, help=f"{TABLE_HELP}; or an exported model, .onnx, for the table it was exported with"
    )
    parser.add_argument("live", type=Path, help=f"{TABLE_HELP}; a model predicts its rows, too")
    add_output(parser, "a page with pictures of both distributions, .html")
    parser.add_argument("--drop", action="append", default=[], metavar="COLUMN", help="leave a column out; repeatable")
    parser.add_argument("--alpha", type=float, default=0.05, help="share of false alarms (default: %(default)s)")
    parser.add_argument(
        "--correction",
        choices=("holm", "benjamini-hochberg"),
        default="holm",
        help="what --alpha is a share of: holm (default), reports with an alarm although nothing has changed; "
        "benjamini-hochberg, columns among those that are called drifted",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--fail-on-drift", action="store_true", help="exit with code 3 if something has drifted")


def run(options: argparse.Namespace) -> int:
    from sknn.monitoring import html_report
    from sknn.utils.files import write_atomically

    if options.output is not None:
        prepare_output(options.output, options.live)
    is_model = options.reference.suffix == ".onnx"
    monitor, new = (_compare_with_model if is_model else _compare_tables)(options)
    report = monitor.report(options.alpha, options.correction)
    if options.output is not None:
        page = html_report(report, options.reference.name, options.live.name)
        write_atomically(options.output, page.encode())
    print(json.dumps(report.to_dict()) if options.json else report)
    if new and not options.json:
        print(f"not compared, because the reference lacks them: {', '.join(new)}")
    return DRIFT if options.fail_on_drift and report.drifted else 0


def _compare_tables(options: argparse.Namespace) -> tuple[Any, list[str]]:
    """Return a monitor that has counted the live rows, and the columns that it does not know."""
    from sknn.monitoring import DriftMonitor

    frame = read_table(options.reference)
    for name in options.drop:
        require_column(options.reference, list(frame.columns), name)
    if set(frame.columns) == set(options.drop):
        raise ValueError("--drop names all columns; leave at least one to compare")
    monitor = DriftMonitor.from_reference(frame.drop(columns=options.drop))
    kinds = {column["name"]: column["kind"] for column in monitor.reference["columns"]}
    live = read_table(options.live, kinds)
    for name in kinds:
        require_column(options.live, list(live.columns), name)
    return monitor.update(live), [name for name in live.columns if name not in [*kinds, *options.drop]]


def _compare_with_model(options: argparse.Namespace) -> tuple[Any, list[str]]:
    """Return a monitor that has counted the live rows and their predictions; a model ignores further columns, too."""
    from sknn.monitoring import DriftMonitor

    model = load_model(options.reference)
    reference = DriftMonitor.from_onnx(model.predictor).reference
    columns = {column["name"]: column for column in reference["columns"]}
    for name in options.drop:
        require_column(options.reference, list(columns), name)
    monitor = DriftMonitor(reference | {"columns": [columns[name] for name in columns if name not in options.drop]})
    rows = model.select(model.read(options.live), options.live)
    return monitor.update(rows, model.predictor.predict(rows)), []
