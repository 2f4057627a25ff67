"""The command line: `sknn COMMAND`, or `python -m sknn COMMAND`."""

from sknn.cli.main import main

__all__ = ["main"]
