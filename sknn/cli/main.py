"""Run a command, and print its error as one line.

A command is a module with two functions: `add_parser(commands)` adds its arguments, `run(options)` runs it. Importing
it imports neither torch nor pandas, so that `--help` and `--version` answer at once. Exit codes: 0 for success; 1 for a
failed command, with one line on stderr; 2 for invalid arguments.
"""

import argparse
import sys
from collections.abc import Sequence

import sknn
import sknn.cli.export as export

COMMANDS = (export,)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default the arguments of the process.

    Returns
    -------
    int
        The exit code: 0, or 1 if the command failed.

    Raises
    ------
    SystemExit
        With code 2 for invalid arguments, with code 0 after ``--help`` and ``--version``.
    """
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except Exception as error:  # print every error as one line without a traceback
        print(f"sknn {options.command}: error: {_format_error(error)}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("sknn", description="Neural networks that behave like scikit-learn estimators.")
    parser.add_argument("--version", action="version", version=f"sknn {sknn.__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="command")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def _format_error(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
