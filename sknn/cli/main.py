"""Run a command, and print its error as one line.

A command is a module with two functions: `add_parser(commands)` adds its arguments, `run(options)` runs it. Importing
it imports neither torch, scikit-learn nor pandas, so that `--help` and `--version` answer at once. Exit codes: 0 for
success, 2 for an error, with one line on stderr, and 130 for a command that Ctrl-C has ended. `run` may return another
one, for a command whose answer is no. Warnings are lines on stderr, too.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import sknn
import sknn.cli.evaluate as evaluate
import sknn.cli.export as export
import sknn.cli.fit as fit
import sknn.cli.info as info
import sknn.cli.monitor as monitor
import sknn.cli.predict as predict
import sknn.cli.promote as promote
import sknn.cli.serve as serve

COMMANDS = (fit, evaluate, predict, info, export, serve, monitor, promote)
EPILOG = """\
Each command has examples: sknn fit --help

examples:
  sknn fit customers.csv --target churn -o churn.sknn
  sknn predict churn.sknn new_customers.csv -o predictions.csv
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default the arguments of the process.

    Returns
    -------
    int
        The exit code: 0, 2 if the command failed, 130 if Ctrl-C has ended it, or what the command returns.

    Raises
    ------
    SystemExit
        With code 2 for invalid arguments, with code 0 after ``--help`` and ``--version``.
    """
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: _print(options, "warning", message)
            code = options.run(options) or 0
            sys.stdout.flush()
            return code
    except BrokenPipeError:  # the reader of the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # print every error as one line without a traceback
        _print(options, "error", _format_error(error))
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "sknn",
        description="Neural networks for tables.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sknn {sknn.__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="command")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def _print(options: argparse.Namespace, kind: str, message: Any) -> None:
    print(f"sknn {options.command}: {kind}: {message}", file=sys.stderr, flush=True)


def _format_error(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
