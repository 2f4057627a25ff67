"""Shared by the tests of the commands: the command line in a process of its own."""

import os

from tests.common import python


def sknn_command(*arguments, folder, **environment):
    """Run the command line in a new process, with warnings as errors."""
    return python("-W", "error", "-m", "sknn", *arguments, cwd=folder, env=os.environ | environment)
