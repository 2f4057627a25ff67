"""Settings for all tests: one thread per process and no plot windows; and a fixture for Ctrl-C."""

import collections
import os
import signal

import pytest

# Set these before importing the libraries that read them. The small networks of the tests are slower on two threads
# than on one, and far slower if the machine is busy.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ["MPLBACKEND"] = "Agg"


@pytest.fixture
def ctrl_c_raises():
    """Let SIGINT raise KeyboardInterrupt, even if the process was started in the background and ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.hookimpl(tryfirst=True)  # before pytest selects by markers
def pytest_collection_modifyitems(items):
    """Mark the cases of a test with the marker `sample` as slow, except every n-th one."""
    n_cases = collections.Counter()
    for item in items:
        sample = item.get_closest_marker("sample")
        if sample is not None:
            case = n_cases[item.function]
            n_cases[item.function] += 1
            if case % sample.args[0]:
                item.add_marker(pytest.mark.slow)
