"""Numbers of threads of torch and of numpy's BLAS: set for a block, restored after it, and safe in forked processes."""

import contextlib
import io
import multiprocessing
import os
import signal
import subprocess
import sys
from threading import Event, Thread

import joblib
import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from sklearn.base import clone
from threadpoolctl import threadpool_limits
from torch import nn

from sknn import NeuralClassifier, NeuralRegressor
from sknn.utils import threads as threads_module
from sknn.utils.threads import WORK_FOR_THREADS, _blas_libraries, one_blas_thread, threads
from tests.common import forked

BIG, SMALL = WORK_FOR_THREADS, WORK_FOR_THREADS - 1


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


# --- Threads of torch -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_threads", "work", "inside"),
    [(1, BIG, 1), (3, SMALL, 3), (2, SMALL, 2), ("auto", SMALL, 1), ("auto", BIG, 2), (np.int64(3), SMALL, 3)],
)
def test_threads_are_set_in_the_context_and_restored_after(n_threads, work, inside):
    with threads(n_threads, work):
        assert torch.get_num_threads() == min(inside, joblib.cpu_count())
    assert torch.get_num_threads() == 2


LIMITS = {
    "affinity": ("import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])", {}),
    "joblib": ("", {"LOKY_MAX_CPU_COUNT": "1"}),
}


@pytest.mark.sample(4)
@pytest.mark.parametrize(("limit", "environment"), LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("n_threads", ["auto", 4])
def test_a_process_uses_no_more_threads_than_available(limit, environment, n_threads):
    if "affinity" in limit and not hasattr(os, "sched_setaffinity"):
        pytest.skip("needs CPU affinity")
    program = f"""{limit}
import torch
from sknn.utils.threads import WORK_FOR_THREADS, threads
torch.set_num_threads(4)
with threads({n_threads!r}, WORK_FOR_THREADS):
    print(torch.get_num_threads())
print(torch.get_num_threads())"""
    run = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, text=True, capture_output=True, timeout=300
    )
    assert (run.stdout.split(), run.stderr) == (["1", "4"], "")


class Recorder(nn.Linear):
    """A layer that records the number of threads of each call."""

    threads: list

    def forward(self, x):
        Recorder.threads.append(torch.get_num_threads())
        return super().forward(x)


@pytest.mark.parametrize(
    ("n_threads", "work", "expected"), [("auto", BIG, 1), (1, 1, 1), (2, BIG, 2), ("auto", 100, 2)]
)
def test_predictions_and_fits_use_the_same_number_of_threads(n_threads, work, expected, monkeypatch):
    monkeypatch.setattr(threads_module, "WORK_FOR_THREADS", work)
    rows = np.arange(40.0).reshape(20, 2)
    est = NeuralRegressor(module=Recorder, n_threads=n_threads, max_iter=1, ensemble_size=1, early_stopping=False)
    Recorder.threads = []
    est.fit(rows, rows[:, 0])
    during_fit = set(Recorder.threads[1:])  # the first call finds the output's shape
    Recorder.threads = []
    est.predict(rows)
    allowed = min(expected, joblib.cpu_count())
    assert (during_fit, set(Recorder.threads)) == ({allowed}, {allowed})
    assert torch.get_num_threads() == 2


def test_the_default_network_uses_one_thread():
    rows = np.random.default_rng(0).normal(size=(600, 30))
    seen = []
    actual_threads = threads_module.threads

    def recorded(n_threads, work):
        seen.append((n_threads, work))
        return actual_threads(n_threads, work)

    with pytest.MonkeyPatch.context() as patch:
        for file in ("estimators.base", "estimators.prediction"):
            patch.setattr(f"sknn.{file}.threads", recorded)
        NeuralClassifier(max_iter=1).fit(rows, np.arange(600) % 2).predict(rows)
    assert [n_threads for n_threads, _ in seen] == ["auto", "auto"]
    assert max(work for _, work in seen) < WORK_FOR_THREADS / 50


def test_threads_are_restored_after_an_exception():
    inside = []

    def interrupted():
        with threads(1, BIG):
            inside.append(torch.get_num_threads())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert inside == [1]
    assert torch.get_num_threads() == 2


def test_threads_nest():
    with threads(1, BIG):
        with threads(2, BIG):
            assert torch.get_num_threads() == min(2, joblib.cpu_count())
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def threads_of_a_large_step():
    with threads("auto", 10 * WORK_FOR_THREADS):
        return torch.get_num_threads()


def test_joblib_workers_share_the_cores():
    used = Parallel(n_jobs=2, backend="loky")(delayed(threads_of_a_large_step)() for _ in range(4))
    assert max(used) <= max(1, (os.cpu_count() or 1) // 2)


# --- Forked processes -------------------------------------------------------------------------------------------------

LIMIT = 120  # seconds for a child process that needs a few, unless it hangs
ROWS = np.random.default_rng(0).normal(size=(1000, 30))
NETWORKS = {
    "built-in": NeuralRegressor(hidden_layer_sizes=512, ensemble_size=2, max_iter=1, random_state=0, n_threads=2),
    "module": NeuralRegressor(
        module=lambda i, o: nn.Sequential(nn.Linear(i, 1000), nn.Dropout(0.1), nn.ReLU(), nn.Linear(1000, o)),
        **{"ensemble_size": 2, "max_iter": 1, "random_state": 0, "n_threads": 2},
    ),
}


def predicted_and_fitted(name):
    """Return the number of threads, predictions of the network that the parent fitted, and of new ones."""
    est = NETWORKS[name]
    fits = [clone(est).set_params(n_threads=n_threads).fit(ROWS, ROWS[:, 0]) for n_threads in ("auto", 1, 2)]
    return [torch.get_num_threads(), *(fit.predict(ROWS) for fit in (est, *fits))]


def by_os_fork(function, argument):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(LIMIT)  # ends the process if it hangs
        with os.fdopen(write, "wb") as results:
            np.savez(results, *function(argument))
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as results:
        content = results.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return list(np.load(io.BytesIO(content)).values())


def by_multiprocessing(function, argument):
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply_async(function, [argument]).get(LIMIT)


def by_joblib(function, argument):
    with Parallel(2, backend="multiprocessing", timeout=LIMIT) as run:
        return run([delayed(function)(argument)])[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork")
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("run_in_a_fork", [by_os_fork, by_multiprocessing, by_joblib])
def test_a_forked_process_can_predict_and_fit_after_the_parent_used_threads(run_in_a_fork, name):
    est = NETWORKS[name].fit(ROWS, ROWS[:, 0])  # on two threads
    n_threads, predicted, *fitted = run_in_a_fork(predicted_and_fitted, name)
    single_threaded = clone(est).set_params(n_threads=1).fit(ROWS, ROWS[:, 0]).predict(ROWS)
    assert n_threads == 1
    np.testing.assert_allclose(predicted, est.predict(ROWS), rtol=1e-5)
    for predictions in fitted:
        np.testing.assert_array_equal(predictions, single_threaded)


# --- Threads of BLAS --------------------------------------------------------------------------------------------------


def blas_threads():
    """Return the number of threads of each controllable BLAS; there is none if numpy uses MKL or Accelerate."""
    return [library.get_num_threads() for library in _blas_libraries()]


@pytest.fixture
def two_blas_threads():
    # A Ctrl-C of an earlier test, in the middle of entering a context, may have lost the exit: it is counted for ever.
    one_blas_thread._reset()
    one_blas_thread._before.clear()
    with threadpool_limits(2, user_api="blas"):
        yield


def test_numpys_blas_has_one_thread_in_the_context_and_its_own_number_afterwards(two_blas_threads):
    before = blas_threads()
    with one_blas_thread:
        assert set(blas_threads()) <= {1}
        with one_blas_thread:
            assert set(blas_threads()) <= {1}
        assert set(blas_threads()) <= {1}
    assert blas_threads() == before
    assert set(before) <= {2}


def test_numpys_blas_has_one_thread_until_the_last_context_ends(two_blas_threads):
    first_has_begun, second_has_ended, seen = Event(), Event(), []

    def outer():
        with one_blas_thread:
            first_has_begun.set()
            second_has_ended.wait()
            seen.extend(blas_threads())

    thread = Thread(target=outer)
    thread.start()
    first_has_begun.wait()
    with one_blas_thread:
        pass
    second_has_ended.set()
    thread.join()
    assert set(seen) <= {1}
    assert set(blas_threads()) <= {2}


def test_numpys_blas_is_restored_after_an_exception(two_blas_threads):
    with pytest.raises(KeyboardInterrupt), one_blas_thread:
        raise KeyboardInterrupt
    assert set(blas_threads()) <= {2}


def test_settings_lost_by_an_interrupt_are_restored_by_the_next_context(two_blas_threads, monkeypatch):
    set_threads, interrupts = threads_module._set_blas_threads, [1]

    def interrupted(library, n_threads):
        if n_threads > 1 and interrupts.pop() if interrupts else False:
            raise KeyboardInterrupt
        set_threads(library, n_threads)

    monkeypatch.setattr(threads_module, "_set_blas_threads", interrupted)
    with contextlib.suppress(KeyboardInterrupt), one_blas_thread:
        pass
    with one_blas_thread:
        assert set(blas_threads()) <= {1}
    assert set(blas_threads()) <= {2}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_process_forked_during_a_fit_can_restore_numpys_blas(two_blas_threads):
    def restores_two():
        with one_blas_thread:
            pass
        assert set(blas_threads()) <= {2}

    with one_blas_thread:
        assert forked(restores_two) == 0
    assert set(blas_threads()) <= {2}


def test_fits_and_predictions_restore_numpys_blas(two_blas_threads):
    X, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 3
    NeuralClassifier(max_iter=2, random_state=0).fit(X, y).predict(X)
    assert set(blas_threads()) <= {2}
