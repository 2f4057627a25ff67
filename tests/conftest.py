"""What holds for all tests: one thread per process, and no window for a plot; and Ctrl-C wherever they are started."""

import os
import signal

import pytest

# Set before anything is imported that would read it.
# Networks as small as those of the tests are slower on two threads than on one, and far slower if something else runs.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ["MPLBACKEND"] = "Agg"


@pytest.fixture
def ctrl_c_raises():
    """SIGINT raises KeyboardInterrupt, also in a process that was started in the background and ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
