"""What several test files use: small settings, a callback that keeps what a training does, processes of their own."""

import os
import signal
import subprocess
import sys
import traceback
from types import SimpleNamespace

import torch
from skorch.callbacks import Callback

from sknn.training.table import Table

# Where it does not matter what is learnt ...
TINY = {"hidden_layer_sizes": (4,), "ensemble_size": 1, "max_iter": 1, "random_state": 0, "n_threads": 1}
# ... where there have to be a few epochs and members ...
SMALL = {"hidden_layer_sizes": (6,), "ensemble_size": 2, "max_iter": 4, "random_state": 0}
# ... and where something has to be learnt.
QUICK = {
    "hidden_layer_sizes": (16,),
    "ensemble_size": 2,
    "max_iter": 15,
    "learning_rate_init": 0.02,
    "random_state": 0,
    "n_threads": 1,
}

PATIENCE = 300  # seconds that a test waits for a process: less than its time-out, so that the process is ended, too


class Witness(Callback):
    """Keeps the data of a training, and the weights at its start and after each epoch, in `seen`."""

    def __init__(self):
        self.seen = SimpleNamespace()  # which the copy that takes part in the training shares

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.seen.data, self.seen.weights = X, [net.module_.param_buffer.clone()]

    def on_epoch_end(self, net, **kwargs):
        self.seen.weights.append(net.module_.param_buffer.clone())


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
    """A process of this Python, when it has ended."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, **settings)


def printed(*arguments, **settings):
    """What a process of this Python prints that does not fail."""
    done = python(*arguments, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


def forked(work):
    """The exit code of a fork of this process that does this work: 0, 1 if it fails, below 0 if it hangs."""
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE)  # which ends it: no fork may outlive the run, whose output it holds open
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
