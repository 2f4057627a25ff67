"""Devices, precisions, threads and random streams."""

import contextlib
import importlib.util
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
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from threadpoolctl import threadpool_limits
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from sknn import NeuralClassifier, NeuralRegressor
from sknn.training.net import TrainingNet
from sknn.utils import threads as threads_module
from sknn.utils.device import resolve_device, resolve_precision
from sknn.utils.random import member_generator
from sknn.utils.threads import WORK_FOR_THREADS, _blas_libraries, one_blas_thread, threads
from tests.common import SMALL, forked

CPU = torch.device("cpu")
BIG, LITTLE = WORK_FOR_THREADS, WORK_FOR_THREADS - 1


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


X, Y = load_iris(return_X_y=True)
WORDS = X.astype(object)
WORDS[:, 0] = np.array(["a", "b", "c"])[np.arange(150) % 3]
DIABETES = load_diabetes(return_X_y=True)
FITS = {
    "classes": (NeuralClassifier, (X, Y), {"batch_norm": True, "metrics": ["accuracy"], "class_weight": "balanced"}),
    "words": (NeuralClassifier, (WORDS, Y), {"numeric_embedding": "periodic", "label_smoothing": 0.1}),
    "values": (NeuralRegressor, DIABETES, {"numeric_embedding": "piecewise_linear", "metrics": ["r2"]}),
    "sgd": (NeuralRegressor, DIABETES, {"solver": "sgd", "learning_rate": "adaptive"}),
    "torch's solver": (NeuralRegressor, DIABETES, {"solver": torch.optim.RMSprop, "precision": "bfloat16"}),
    "lbfgs": (NeuralRegressor, DIABETES, {"solver": "lbfgs"}),
    "custom module": (NeuralRegressor, DIABETES, {"module": torch.nn.Linear}),
    "quantiles": (NeuralRegressor, DIABETES, {"loss": "quantile", "quantile": (0.1, 0.9)}),
}


def fitted(cls=NeuralClassifier, table=(X, Y), **params):
    return cls(**SMALL | params).fit(*table)


@pytest.mark.parametrize(("cuda", "mps", "best"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_auto_takes_the_best_device_that_torch_finds(cuda, mps, best, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert resolve_device("auto").type == best


@pytest.mark.skipif(resolve_device("auto") != CPU, reason="needs a machine without a GPU")
def test_without_a_gpu_auto_trains_on_the_cpu_as_cpu_does():
    auto, cpu = (fitted(device=device) for device in ("auto", "cpu"))
    assert auto.device_ == cpu.device_ == auto.module_.param_buffer.device == CPU
    assert torch.equal(auto.module_.param_buffer, cpu.module_.param_buffer)


@pytest.mark.parametrize("name", FITS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_epochs_and_predictions_make_is_made_on_the_device_of_the_network(name, monkeypatch):
    """What named no device would be made on torch's default one, which cannot be computed with here."""
    cls, table, params = FITS[name]
    expected = fitted(cls, table, device="cpu", **params).predict(table[0])
    whole = TrainingNet.run_single_epoch

    def elsewhere_by_default(*args, **kwargs):
        with torch.device("meta"):
            whole(*args, **kwargs)

    monkeypatch.setattr(TrainingNet, "run_single_epoch", elsewhere_by_default)
    est = fitted(cls, table, device="cpu", **params)
    with torch.device("meta"):
        np.testing.assert_array_equal(est.predict(table[0]), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_found_with_and_without_its_number():
    assert resolve_device("cuda").type == "cuda"
    assert resolve_device("cuda:0") == torch.device("cuda:0")


@pytest.mark.parametrize("device", ["gpu", "", "meta", "CUDA", "cpus", "tpu:0"])
def test_an_unknown_device_is_answered_with_those_there_are(device):
    message = rf"^device={device!r} is unknown; use one of auto, cpu, cuda, mps, xla, or a numbered 'cuda:1'\.$"
    with pytest.raises(ValueError, match=message):
        resolve_device(device)


@pytest.mark.parametrize("device", ["cuda:x", "cpu:", "cuda:-1"])
def test_a_malformed_number_is_no_devices_name(device):
    with pytest.raises(ValueError, match=rf"^device={device!r} is no device's name: "):
        resolve_device(device)


def test_a_gpu_that_is_not_there_is_refused_with_the_number_of_those_that_are():
    n = torch.cuda.device_count()
    message = rf"^device='cuda:{n}' is not on this machine, which has {n} CUDA devices; use device='cpu', or 'auto'"
    with pytest.raises(ValueError, match=message):
        resolve_device(f"cuda:{n}")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="needs a machine without MPS")
def test_mps_is_refused_where_it_is_not():
    with pytest.raises(ValueError, match=r"^device='mps' is not on this machine; use device='cpu', or 'auto'\.$"):
        resolve_device("mps")


@pytest.mark.skipif(importlib.util.find_spec("torch_xla") is not None, reason="needs a machine without torch_xla")
def test_xla_names_the_package_that_it_needs():
    message = r"^device='xla' \(TPU\) needs the package torch_xla; install it, or use device='auto'\.$"
    with pytest.raises(ValueError, match=message):
        resolve_device("xla")


@pytest.mark.parametrize(
    ("precision", "dtype", "product_dtype"),
    [
        ("auto", torch.float32, None),
        ("float32", torch.float32, None),
        ("float64", torch.float64, None),
        ("bfloat16", torch.float32, torch.bfloat16),
    ],
)
def test_a_precision_is_the_type_of_the_parameters_and_of_the_products(precision, dtype, product_dtype):
    resolved = resolve_precision(precision, CPU)
    assert (resolved.dtype, resolved.product_dtype) == (dtype, product_dtype)


class Products(TorchDispatchMode):
    """Notes of which type the matrices are that torch multiplies."""

    def __init__(self):
        super().__init__()
        self.dtypes = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in ("mm", "bmm", "addmm", "baddbmm"):
            self.dtypes |= {tensor.dtype for tensor in args if torch.is_tensor(tensor)}
        return func(*args, **kwargs or {})


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("float64", torch.float64)])
def test_the_weights_of_a_fit_are_of_its_precision(precision, dtype):
    est = fitted(precision=precision, device="cpu")
    assert est.module_.param_buffer.dtype == dtype
    assert est.coefs_[0].dtype == precision


def test_bfloat16_multiplies_in_it_and_keeps_its_parameters_in_float32():
    plain = fitted(device="cpu")
    with Products() as products:
        est = fitted(precision="bfloat16", device="cpu")
    assert est.module_.param_buffer.dtype == torch.float32
    assert torch.bfloat16 in products.dtypes
    np.testing.assert_allclose(est.predict_proba(X), plain.predict_proba(X), atol=0.05)
    assert np.abs(est.predict_proba(X) - plain.predict_proba(X)).max() > 1e-5


def test_mps_has_no_float64():
    message = r"^precision='float64' is not supported on device='mps'; use 'float32' or another device\.$"
    with pytest.raises(ValueError, match=message):
        resolve_precision("float64", torch.device("mps"))
    assert resolve_precision("float32", torch.device("mps")).dtype == torch.float32


# --- Threads ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_threads", "work", "inside"),
    [(1, BIG, 1), (3, LITTLE, 3), (2, LITTLE, 2), ("auto", LITTLE, 1), ("auto", BIG, 2), (np.int64(3), LITTLE, 3)],
)
def test_threads_are_set_inside_and_restored_after(n_threads, work, inside):
    with threads(n_threads, work):
        assert torch.get_num_threads() == min(inside, joblib.cpu_count())
    assert torch.get_num_threads() == 2


LIMITS = {
    "affinity": ("import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])", {}),
    "joblib": ("", {"LOKY_MAX_CPU_COUNT": "1"}),
}


@pytest.mark.parametrize(("limit", "environment"), LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("n_threads", ["auto", 4])
def test_no_more_threads_are_taken_than_the_process_may_use(limit, environment, n_threads):
    if "affinity" in limit and not hasattr(os, "sched_setaffinity"):
        pytest.skip("there is no affinity here")
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


class Witness(nn.Linear):
    """Notes how many threads there are when it computes."""

    threads: list

    def forward(self, x):
        Witness.threads.append(torch.get_num_threads())
        return super().forward(x)


@pytest.mark.parametrize(
    ("n_threads", "work", "expected"), [("auto", BIG, 1), (1, 1, 1), (2, BIG, 2), ("auto", 100, 2)]
)
def test_predictions_take_threads_by_the_same_rule_as_fits(n_threads, work, expected, monkeypatch):
    monkeypatch.setattr(threads_module, "WORK_FOR_THREADS", work)
    rows = np.arange(40.0).reshape(20, 2)
    est = NeuralRegressor(module=Witness, n_threads=n_threads, max_iter=1, ensemble_size=1, early_stopping=False)
    Witness.threads = []
    est.fit(rows, rows[:, 0])
    during_fit = set(Witness.threads[1:])  # the first is a look at the output's shape
    Witness.threads = []
    est.predict(rows)
    allowed = min(expected, joblib.cpu_count())
    assert (during_fit, set(Witness.threads)) == ({allowed}, {allowed})
    assert torch.get_num_threads() == 2


def test_the_default_network_computes_on_one_thread():
    rows = np.random.default_rng(0).normal(size=(600, 30))
    seen = []
    whole = threads_module.threads

    def noted(n_threads, work):
        seen.append((n_threads, work))
        return whole(n_threads, work)

    with pytest.MonkeyPatch.context() as patch:
        for file in ("estimators.base", "estimators.prediction"):
            patch.setattr(f"sknn.{file}.threads", noted)
        NeuralClassifier(max_iter=1).fit(rows, np.arange(600) % 2).predict(rows)
    assert [n_threads for n_threads, _ in seen] == ["auto", "auto"]
    assert max(work for _, work in seen) < WORK_FOR_THREADS / 50


# --- Forked processes -------------------------------------------------------------------------------------------------

LIMIT = 120  # seconds for a child that needs a few: it hangs, or it doesn't
ROWS = np.random.default_rng(0).normal(size=(1000, 30))
NETWORKS = {
    "built-in": NeuralRegressor(hidden_layer_sizes=512, ensemble_size=2, max_iter=1, random_state=0, n_threads=2),
    "module": NeuralRegressor(
        module=lambda i, o: nn.Sequential(nn.Linear(i, 1000), nn.Dropout(0.1), nn.ReLU(), nn.Linear(1000, o)),
        **{"ensemble_size": 2, "max_iter": 1, "random_state": 0, "n_threads": 2},
    ),
}


def predicted_and_fitted(name):
    """Predictions of the network that the parent has fitted, and of new ones."""
    est = NETWORKS[name]
    fits = [clone(est).set_params(n_threads=n_threads).fit(ROWS, ROWS[:, 0]) for n_threads in ("auto", 1, 2)]
    return [torch.get_num_threads(), *(fit.predict(ROWS) for fit in (est, *fits))]


def by_os_fork(function, argument):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(LIMIT)  # whose default is to end the process, wherever it hangs
        with os.fdopen(write, "wb") as results:
            np.savez(results, *function(argument))
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as results:
        whole = results.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return list(np.load(io.BytesIO(whole)).values())


def by_multiprocessing(function, argument):
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply_async(function, [argument]).get(LIMIT)


def by_joblib(function, argument):
    with Parallel(2, backend="multiprocessing", timeout=LIMIT) as run:
        return run([delayed(function)(argument)])[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork")
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("run_in_a_fork", [by_os_fork, by_multiprocessing, by_joblib])
def test_a_forked_process_predicts_and_fits_after_torchs_threads_were_used(run_in_a_fork, name):
    est = NETWORKS[name].fit(ROWS, ROWS[:, 0])  # on two threads
    n_threads, predicted, *fitted = run_in_a_fork(predicted_and_fitted, name)
    alone = clone(est).set_params(n_threads=1).fit(ROWS, ROWS[:, 0]).predict(ROWS)
    assert n_threads == 1
    np.testing.assert_allclose(predicted, est.predict(ROWS), rtol=1e-5)
    for predictions in fitted:
        np.testing.assert_array_equal(predictions, alone)


def blas_threads():
    """Of each BLAS whose threads can be told: none where numpy has come with MKL or Accelerate."""
    return [library.get_num_threads() for library in _blas_libraries()]


@pytest.fixture
def two_blas_threads():
    with threadpool_limits(2, user_api="blas"):
        yield


def test_numpys_blas_has_one_thread_inside_and_its_own_after(two_blas_threads):
    before = blas_threads()
    with one_blas_thread:
        assert set(blas_threads()) <= {1}
        with one_blas_thread:
            assert set(blas_threads()) <= {1}
        assert set(blas_threads()) <= {1}
    assert blas_threads() == before
    assert set(before) <= {2}


def test_numpys_blas_keeps_to_one_thread_until_the_last_training_has_ended(two_blas_threads):
    first_is_in, second_has_left, seen = Event(), Event(), []

    def outer():
        with one_blas_thread:
            first_is_in.set()
            second_has_left.wait()
            seen.extend(blas_threads())

    thread = Thread(target=outer)
    thread.start()
    first_is_in.wait()
    with one_blas_thread:
        pass
    second_has_left.set()
    thread.join()
    assert set(seen) <= {1}
    assert set(blas_threads()) <= {2}


def test_numpys_blas_is_given_back_after_an_exception(two_blas_threads):
    with pytest.raises(KeyboardInterrupt), one_blas_thread:
        raise KeyboardInterrupt
    assert set(blas_threads()) <= {2}


def test_what_an_interrupt_keeps_from_being_restored_is_restored_by_the_next_one_out(two_blas_threads, monkeypatch):
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_process_forked_during_a_fit_can_restore_numpys_blas(two_blas_threads):
    def leaves_two():
        with one_blas_thread:
            pass
        assert set(blas_threads()) <= {2}

    with one_blas_thread:
        assert forked(leaves_two) == 0
    assert set(blas_threads()) <= {2}


def test_a_fit_and_a_prediction_leave_numpys_blas_as_it_was(two_blas_threads):
    X, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 3
    NeuralClassifier(max_iter=2, random_state=0).fit(X, y).predict(X)
    assert set(blas_threads()) <= {2}


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


# --- Random streams -----------------------------------------------------------------------------------------------

KEYS = st.tuples(
    st.integers(0, 2**31 - 1), st.integers(0, 500), st.sampled_from(["weights", "order", "noise"]), st.integers(0, 500)
)


def draw(seed, member, key, start):
    return torch.randint(2**62, (4,), generator=member_generator(seed, member, key, CPU, start)).tolist()


@given(key=KEYS)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_a_stream_repeats(key):
    assert draw(*key) == draw(*key)


@given(keys=st.lists(KEYS, min_size=2, max_size=20, unique=True))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_streams_of_different_keys_differ(keys):
    assert len({tuple(draw(*key)) for key in keys}) == len(keys)


def test_neighbouring_streams_are_not_correlated():
    n = 2000
    rows = [
        torch.randn(n, generator=member_generator(0, member, key, CPU, start), dtype=torch.float64)
        for member in range(5)
        for key in ("weights", "order")
        for start in (0, 1)
    ]
    correlation = torch.corrcoef(torch.stack(rows)) - torch.eye(len(rows))
    assert correlation.abs().max() < 5 / n**0.5  # five standard deviations, for 190 pairs


@pytest.fixture
def global_states():
    torchs, numpys = torch.get_rng_state(), np.random.get_state()
    yield
    torch.set_rng_state(torchs)
    np.random.set_state(numpys)


@pytest.mark.usefixtures("global_states")
def test_the_global_random_state_is_neither_read_nor_changed():
    torch.manual_seed(0)
    np.random.seed(0)
    before, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = draw(1, 2, "weights", 0)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpys)
    torch.manual_seed(99)
    np.random.seed(99)
    assert draw(1, 2, "weights", 0) == first


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_a_stream_is_drawn_on_the_cpu_for_every_device_but_cuda(device):
    assert member_generator(0, 0, "weights", torch.device(device)).device == CPU


def threads_of_a_large_step():
    with threads("auto", 10 * WORK_FOR_THREADS):
        return torch.get_num_threads()


def test_workers_of_joblib_do_not_take_more_than_their_share():
    taken = Parallel(n_jobs=2, backend="loky")(delayed(threads_of_a_large_step)() for _ in range(4))
    assert max(taken) <= max(1, (os.cpu_count() or 1) // 2)
