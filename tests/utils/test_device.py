"""Devices and precisions."""

import importlib.util

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_iris
from torch.utils._python_dispatch import TorchDispatchMode

from sknn import NeuralClassifier, NeuralRegressor
from sknn.training.net import TrainingNet
from sknn.utils.device import resolve_device, resolve_precision
from tests.common import SMALL

CPU = torch.device("cpu")
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
def test_auto_is_the_best_available_device(cuda, mps, best, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert resolve_device("auto").type == best


@pytest.mark.skipif(resolve_device("auto") != CPU, reason="needs a machine without a GPU")
def test_without_a_gpu_auto_trains_like_cpu():
    auto, cpu = (fitted(device=device) for device in ("auto", "cpu"))
    assert auto.device_ == cpu.device_ == auto.module_.param_buffer.device == CPU
    assert torch.equal(auto.module_.param_buffer, cpu.module_.param_buffer)


@pytest.mark.parametrize("name", FITS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_tensors_of_epochs_and_predictions_are_created_on_the_networks_device(name, monkeypatch):
    """Tensors without a device would be on torch's default device, which can't compute here."""
    cls, table, params = FITS[name]
    expected = fitted(cls, table, device="cpu", **params).predict(table[0])
    run_single_epoch = TrainingNet.run_single_epoch

    def with_another_default_device(*args, **kwargs):
        with torch.device("meta"):
            run_single_epoch(*args, **kwargs)

    monkeypatch.setattr(TrainingNet, "run_single_epoch", with_another_default_device)
    est = fitted(cls, table, device="cpu", **params)
    with torch.device("meta"):
        np.testing.assert_array_equal(est.predict(table[0]), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_found_with_and_without_its_number():
    assert resolve_device("cuda").type == "cuda"
    assert resolve_device("cuda:0") == torch.device("cuda:0")


@pytest.mark.parametrize("device", ["gpu", "", "meta", "CUDA", "cpus", "tpu:0"])
def test_an_unknown_device_is_refused_with_the_known_ones(device):
    message = rf"^device={device!r} is unknown; use one of auto, cpu, cuda, mps, xla, or a number, as in 'cuda:1'\.$"
    with pytest.raises(ValueError, match=message):
        resolve_device(device)


@pytest.mark.parametrize("device", ["cuda:x", "cpu:", "cuda:-1"])
def test_a_malformed_device_number_is_refused(device):
    with pytest.raises(ValueError, match=rf"^device={device!r} is not a device name: "):
        resolve_device(device)


def test_a_missing_gpu_is_refused_with_the_number_of_gpus():
    n = torch.cuda.device_count()
    message = rf"^device='cuda:{n}' is not on this machine, which has {n} CUDA devices; use device='cpu', or 'auto'"
    with pytest.raises(ValueError, match=message):
        resolve_device(f"cuda:{n}")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="needs a machine without MPS")
def test_a_missing_mps_device_is_refused():
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
def test_a_precision_is_the_dtype_of_parameters_and_products(precision, dtype, product_dtype):
    resolved = resolve_precision(precision, CPU)
    assert (resolved.dtype, resolved.product_dtype) == (dtype, product_dtype)


class ProductDtypes(TorchDispatchMode):
    """Records the dtypes of the matrices that torch multiplies."""

    def __init__(self):
        super().__init__()
        self.dtypes = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in ("mm", "bmm", "addmm", "baddbmm"):
            self.dtypes |= {tensor.dtype for tensor in args if torch.is_tensor(tensor)}
        return func(*args, **kwargs or {})


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("float64", torch.float64)])
def test_the_weights_of_a_fit_have_its_precision(precision, dtype):
    est = fitted(precision=precision, device="cpu")
    assert est.module_.param_buffer.dtype == dtype
    assert est.coefs_[0].dtype == precision


def test_bfloat16_is_the_dtype_of_products_but_not_of_parameters():
    plain = fitted(device="cpu")
    with ProductDtypes() as products:
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
