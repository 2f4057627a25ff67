"""One thread per process, and no window for a plot: set before anything is imported that would read it."""

import os

# Networks as small as those of the tests are slower on two threads than on one, and far slower if something else runs.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ["MPLBACKEND"] = "Agg"
