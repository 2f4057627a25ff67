"""Shared by the tests of the commands: the command line in a process of its own, and a table with codes."""

import os

import numpy as np
import pandas as pd

from tests.common import python

FEATURES = ["age", "zip", "spend"]
QUICK = ["--set", "hidden_layer_sizes=8", "--set", "ensemble_size=2", "--set", "max_iter=5"]
_rng = np.random.default_rng(0)
CUSTOMERS = pd.DataFrame(
    {
        "age": _rng.integers(18, 80, 120),
        "zip": _rng.choice(["0150", "0187", "1201"], 120),
        "spend": _rng.normal(100, 20, 120).round(1),
    }
)
CUSTOMERS["churn"] = np.where(CUSTOMERS["age"] + _rng.normal(0, 5, 120) > 50, "yes", "no")


def sknn_command(*arguments, folder, **environment):
    """Run the command line in a new process, with warnings as errors."""
    return python("-W", "error", "-m", "sknn", *arguments, cwd=folder, env=os.environ | environment)
