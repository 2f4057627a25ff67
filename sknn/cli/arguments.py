"""Arguments that several commands have, and the values of `--set`."""

import argparse
import ast
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sknn.cli.names import did_you_mean

MODEL_HELP = "a file of sknn fit or sknn.save (.sknn), or an exported one (.onnx)"
TABLE_HELP = "a table, .csv or .parquet"


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], None], text: str, details: str, examples: str
) -> argparse.ArgumentParser:
    """Return the parser of a command; `text` says what it does in the list of commands."""
    parser = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.\n{details}".strip(),
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_output(parser: argparse.ArgumentParser, text: str) -> None:
    """Add `-o`."""
    parser.add_argument("-o", "--output", type=Path, metavar="PATH", help=text)


def fraction(text: str) -> float:
    """Return the value of an argument that has to be at least 0 and below 1."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} has to be at least 0 and below 1, such as 0.15")
    return value


def parse_settings(settings: Iterable[str], names: Iterable[str]) -> dict[str, Any]:
    """Return the parameters that `--set name=value` gives; a value that Python can't read is a string.

    Raises
    ------
    ValueError
        If a name is not among `names`, or if there is no value.

    Examples
    --------
    >>> parse_settings(["dropout=0.3", "activation=relu"], ["dropout", "activation"])
    {'dropout': 0.3, 'activation': 'relu'}
    """
    names, parameters = list(names), {}
    for setting in settings:
        name, separator, text = (part.strip() for part in setting.partition("="))
        if not separator:
            raise ValueError(f"--set {setting} has no value; write --set name=value")
        if name not in names:
            raise ValueError(f"--set {setting}: there is no parameter {name!r}.{did_you_mean(name, names)}")
        parameters[name] = _parse_value(text)
    return parameters


def _parse_value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
