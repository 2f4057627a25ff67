"""What several commands have: how they are described, their files, and the values of `--set`."""

import argparse
import ast
import inspect
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sknn.utils.text import did_you_mean

MODEL_HELP = "a file of sknn fit or sknn.save (.sknn), or an exported one (.onnx)"
TABLE_HELP = "a table, .csv or .parquet"
WORDS = {"true": True, "false": False, "none": None}  # of any case


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int | None], text: str, details: str, examples: str
) -> argparse.ArgumentParser:
    """Return the parser of a command; `text` says what it does in the list of commands."""
    parser = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.\n\n{details}",
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_output(parser: argparse.ArgumentParser, text: str) -> None:
    """Add `-o`."""
    parser.add_argument("-o", "--output", type=Path, metavar="PATH", help=text)


def prepare_output(output: Path, source: Path, is_folder: bool = False) -> None:
    """Create the folder that a result is written to.

    Raises
    ------
    OSError
        If the output should be a file and is a folder, or if the folder can't be created or written to.
    ValueError
        If the output is the file that the command reads.
    """
    if output.is_dir() and not is_folder:
        raise IsADirectoryError(f"--output {output} is a folder; give the path of a file")
    if output.exists() and source.exists() and output.samefile(source):
        raise ValueError(f"--output {output} is the file that is read; use another path")
    output.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(output.parent, os.W_OK):
        raise PermissionError(f"--output {output}: the folder {output.parent} can't be written to")


def fraction(text: str) -> float:
    """Return the value of an argument that has to be at least 0 and below 1."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} has to be at least 0 and below 1, such as 0.15")
    return value


def parse_settings(settings: Iterable[str], estimator: type) -> dict[str, Any]:
    """Return the parameters that `--set name=value` gives; a value that Python can't read is a string.

    Raises
    ------
    ValueError
        If a name is not a parameter of the estimator's class, or if there is no value.

    Examples
    --------
    >>> from sknn import NeuralClassifier
    >>> parse_settings(["dropout=0.3", "activation=relu"], NeuralClassifier)
    {'dropout': 0.3, 'activation': 'relu'}
    """
    names, parameters = list(inspect.signature(estimator).parameters), {}
    for setting in settings:
        name, separator, text = (part.strip() for part in setting.partition("="))
        if not separator:
            raise ValueError(f"--set {setting} has no value; write --set name=value")
        if name not in names:
            raise ValueError(f"{estimator.__name__} has no parameter {name!r}.{did_you_mean(name, names)}")
        parameters[name] = _parse_value(text)
    return parameters


def _parse_value(text: str) -> Any:
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
