"""Shared by several test files: small settings, a callback that records a training, and child processes."""

import os
import signal
import subprocess
import sys
import traceback
import warnings
from types import SimpleNamespace

import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback

from sknn.training.table import Table

# For tests in which nothing has to be learnt ...
TINY = {"hidden_layer_sizes": (4,), "ensemble_size": 1, "max_iter": 1, "random_state": 0, "n_threads": 1}
# ... for tests of members of one kind (by default, the members of an ensemble differ) ...
ALIKE = {"batch_norm": False, "numeric_embedding": None, "target_means": False}
# ... for tests that need a few epochs and members ...
SMALL = {"hidden_layer_sizes": (6,), "ensemble_size": 2, "max_iter": 4, "random_state": 0, **ALIKE}
# ... and for tests in which the network has to learn something.
QUICK = {
    "hidden_layer_sizes": (16,),
    "ensemble_size": 2,
    "max_iter": 15,
    "learning_rate_init": 0.02,
    "random_state": 0,
    "n_threads": 1,
    **ALIKE,
}

PATIENCE = 300  # seconds to wait for a process: less than the time-out of a test, which would not end the process


class WeightRecorder(Callback):
    """Records in `recorded` the data of a training, and the weights at its start and after each epoch."""

    def __init__(self):
        self.recorded = SimpleNamespace()  # the estimator trains with a copy of the callback, which shares this object

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.recorded.data, self.recorded.weights = X, [net.module_.param_buffer.clone()]

    def on_epoch_end(self, net, **kwargs):
        self.recorded.weights.append(net.module_.param_buffer.clone())


def weights_of(est):
    """Return all parameters of all members of an estimator, in one tensor."""
    return torch.cat([part.param_buffer.detach().flatten() for part in est.module_.parts])


def quietly(function, *args, **kwargs):
    """Call a function without the warning that a training has not converged."""
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        return function(*args, **kwargs)


def encoded_table(n=20, weight=None, codes=False, outputs=2):
    """Return a table of random rows."""
    generator = torch.Generator().manual_seed(0)
    return Table(
        torch.randn(n, 3, generator=generator),
        torch.randint(5, (n, 2), generator=generator) if codes else None,
        torch.randn(n, outputs, generator=generator),
        weight,
    )


def python(*arguments, **settings):
    """Run Python in a process of its own, and return the completed process."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, **settings)


def printed(*arguments, **settings):
    """Run Python in a process of its own, which must not fail, and return what it prints."""
    completed = python(*arguments, **settings)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def forked(function):
    """Call a function in a fork of this process; return the exit code: 0, 1 if it fails, below 0 if it hangs."""
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE)  # ends the fork, which would otherwise hold the output of the test run open
        try:
            function()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
