"""`save` and `load`: estimators are restored, and every invalid input has its error message."""

import io
import json
import pickle
import re
import sys
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pytest
import safetensors.numpy
import torch
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import EpochTimer
from torch import nn

from sknn import NeuralClassifier, NeuralRegressor, from_sklearn, load, save
from sknn.model_selection import GridSearchCV
from sknn.persistence import InvalidFileError
from sknn.persistence.container import pack, unpack
from tests.common import TINY, printed

N = 40
X = np.random.default_rng(0).normal(size=(N, 3))
VALUES = X[:, 0]


class Net(nn.Linear):
    pass


class OtherNet(nn.Sequential):
    def __init__(self, in_features, out_features):
        super().__init__(nn.Linear(in_features, 7), nn.Linear(7, out_features))


class OwnOptimizer(torch.optim.SGD):
    pass


def own_loss(outputs, targets):
    return (outputs - targets).abs()


def own_scorer(estimator, X, y):
    return 0.5


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.sknn"


@pytest.fixture(scope="module")
def reg():
    return NeuralRegressor(**TINY).fit(X, VALUES)


def forge(path, change):
    """Rewrite a file with another document and its digest."""
    text, arrays = unpack(path.read_bytes())
    document = json.loads(text)
    change(document)
    path.write_bytes(pack(json.dumps(document), arrays))


# --- Labels, losses, solvers ------------------------------------------------------------------------------------------

LABELS = {
    **{
        f"{kind}{bits}": np.array([0, 1, 2], dtype=f"{kind}{bits}")
        for kind in ("int", "uint")
        for bits in (8, 16, 32, 64)
    },
    **{f"float{bits}": np.array([0.0, 1.0, 2.0], dtype=f"float{bits}") for bits in (16, 32, 64)},
    "bool": np.array([False, True, True]),
    "strings": np.array(["a", "b\u00e4\U0001f600", "ccc"]),
    "objects": np.array(["a", "bb", "c"], dtype=object),
    "big-endian": np.array([1, 2, 3], dtype=">i4"),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_labels_of_every_type_survive(labels, path):
    y = np.resize(labels, N)
    clf = NeuralClassifier(**TINY).fit(X, y)
    save(clf, path)
    restored = load(path)
    assert restored.classes_.dtype == clf.classes_.dtype
    assert list(map(type, restored.classes_)) == list(map(type, clf.classes_))
    np.testing.assert_array_equal(restored.predict(X), clf.predict(X))


CONFIGURATIONS = [
    *(dict(solver=solver, learning_rate_init=0.01) for solver in ("adam", "adamw", "sgd", "lbfgs", torch.optim.NAdam)),
    *(dict(loss=loss) for loss in ("squared_error", "absolute_error", "poisson", "gamma", "huber", "quantile")),
    *(dict(scaling=scaling) for scaling in (None, "standard", "robust", "quantile")),
    *(dict(precision=precision, scaling="robust") for precision in ("float32", "float64", "bfloat16")),
    *(dict(learning_rate=rate) for rate in ("constant", "invscaling", "adaptive", "one_cycle", "reduce_on_plateau")),
    dict(random_state=np.random.RandomState(3), n_iter_no_change=np.inf, metrics=["r2", "neg_max_error"], scoring="r2"),
    dict(hidden_layer_sizes=[4, 2], dropout=np.array([0.1, 0.0]), categorical_features=[0], early_stopping=False),
    dict(hidden_layer_sizes=(), numeric_embedding="auto", callbacks=[]),
]


def without_addresses(value):
    return re.sub(r" at 0x\w+", "", repr(value))


@pytest.mark.parametrize("params", CONFIGURATIONS, ids=lambda params: "-".join(f"{v}"[:20] for v in params.values()))
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_every_configuration_survives(params, path):
    table = X.round(1)
    est = NeuralRegressor(**TINY | params).fit(table, np.abs(VALUES) + 0.1)
    save(est, path)
    restored = load(path)
    np.testing.assert_array_equal(restored.predict(table), est.predict(table))
    assert without_addresses(restored.get_params()) == without_addresses(est.get_params())
    assert restored.history_ == est.history_


def test_an_estimator_from_sklearn_survives(path):
    from sklearn.neural_network import MLPRegressor

    est = from_sklearn(
        MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", max_iter=1000, random_state=0).fit(X, VALUES)
    )
    save(est, path)
    np.testing.assert_array_equal(load(path).predict(X), est.predict(X))


# --- The user's code --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        dict(module=Net),
        dict(loss=own_loss),
        dict(solver=OwnOptimizer),
        dict(scoring=own_scorer),
        dict(metrics=["r2", own_scorer]),
        dict(callbacks=[EpochTimer()]),
        dict(module=Net, loss=own_loss, callbacks=[("timer", EpochTimer)]),
    ],
    ids=lambda params: "-".join(params),
)
def test_code_is_not_saved_and_has_to_be_passed(params, path):
    est = NeuralRegressor(**TINY | params).fit(X, VALUES)
    save(est, path)
    assert b"test_persistence" in path.read_bytes() or "callbacks" in params  # the message contains its name

    name = next(iter(params))
    with pytest.raises(InvalidFileError, match=rf"does not hold the code of .*{name}=.*; pass it: load\(path, "):
        load(path)
    restored = load(path, **params)

    np.testing.assert_array_equal(restored.predict(X), est.predict(X))
    assert all(restored.get_params()[name] is value for name, value in params.items())
    restored.set_params(warm_start=True).fit(X, VALUES)


def test_a_lambda_can_be_passed(path):
    make = lambda i, o: nn.Linear(i, o)  # noqa: E731
    est = NeuralRegressor(**TINY, module=make).fit(X, VALUES)
    save(est, path)
    np.testing.assert_array_equal(load(path, module=make).predict(X), est.predict(X))


def test_a_different_module_is_refused(path):
    save(NeuralRegressor(**TINY, module=Net).fit(X, VALUES), path)
    with pytest.raises(
        InvalidFileError, match=r"module given does not fit the file's arrays: it has 0\.bias .* they are bias"
    ):
        load(path, module=OtherNet)


def network_of(document):
    return parameters_of(document)["_net"]["map"]["parts"][0]["map"]["network"]["map"]


def test_a_module_is_not_built_for_a_forged_number_of_features(path):
    save(NeuralRegressor(**TINY, module=Net).fit(X, VALUES), path)
    forge(path, lambda document: network_of(document).update(in_features=300_000_000))
    with pytest.raises(InvalidFileError, match="the encoders give 3 features, and the module expects 300000000"):
        load(path, module=Net)


def test_a_module_is_built_once_to_compare_its_shapes_with_the_file(path):
    save(NeuralRegressor(**TINY, module=Net).fit(X, VALUES), path)
    text, arrays = unpack(path.read_bytes())
    weights = {name: np.zeros((200_000, 0), np.float32) for name in arrays if "/arrays/" in name}
    path.write_bytes(pack(text, arrays | weights))
    built = []

    def counted(in_features, out_features):
        built.append(1)
        return Net(in_features, out_features)

    with pytest.raises(InvalidFileError, match=r"the module given does not fit .* they are .*\(200000, 0\)"):
        load(path, module=counted)
    assert len(built) == 1


def test_a_parameter_without_placeholder_is_refused(reg, path):
    save(reg, path)
    with pytest.raises(InvalidFileError, match="has no placeholder for module; use set_params after loading"):
        load(path, module=Net)


def test_a_module_inside_a_pipeline_is_passed_by_its_name(path):
    inner = TransformedTargetRegressor(NeuralRegressor(**TINY, module=Net), func=np.sinh, inverse_func=np.arcsinh)
    pipeline = make_pipeline(StandardScaler(), inner).fit(X, VALUES)
    save(pipeline, path)
    np.testing.assert_array_equal(load(path, module=Net).predict(X), pipeline.predict(X))


def test_two_modules_in_one_file_are_refused(path):
    from sklearn.ensemble import VotingRegressor

    pair = [("a", NeuralRegressor(**TINY, module=Net)), ("b", NeuralRegressor(**TINY, module=OtherNet))]
    with pytest.raises(
        TypeError, match=r"module is .*OtherNet, but that of another estimator is .*Net; .*Save them in separate files"
    ):
        save(VotingRegressor(pair).fit(X, VALUES), path)


# --- Invalid inputs ---------------------------------------------------------------------------------------------------


def test_a_search_is_refused_but_its_best_estimator_can_be_saved(path):
    search = GridSearchCV(NeuralRegressor(**TINY), {"alpha": [0.0, 0.1]}, cv=2).fit(X, VALUES)
    with pytest.raises(
        TypeError, match=r"a GridSearchCV can't be saved; save its result: save\(search\.best_estimator_, "
    ):
        save(search, path)
    save(search.best_estimator_, path)
    np.testing.assert_array_equal(load(path).predict(X), search.predict(X))


@pytest.mark.parametrize("estimator", [NeuralRegressor(), make_pipeline(StandardScaler(), NeuralRegressor())])
def test_an_estimator_that_is_not_fitted_is_refused(estimator, path):
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        save(estimator, path)
    assert not path.exists()


def test_an_object_that_is_not_an_estimator_is_refused(path):
    with pytest.raises(TypeError, match=r"^estimator has to be a fitted estimator; got dict"):
        save({}, path)


class SubClassifier(NeuralClassifier):
    pass


def test_a_subclass_is_refused(path):
    with pytest.raises(
        TypeError, match=r"^SubClassifier can't be saved to '.*model\.sknn': .*SubClassifier, which can't"
    ):
        save(SubClassifier(**TINY).fit(X, VALUES > 0), path)


def test_a_failed_save_keeps_the_old_file(reg, path):
    save(reg, path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save(SubClassifier(**TINY).fit(X, VALUES > 0), path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("function", [lambda p: load(p), lambda p: save(NeuralRegressor(**TINY).fit(X, VALUES), p)])
def test_a_value_that_is_not_the_path_of_a_file_is_refused(function, tmp_path):
    with pytest.raises(TypeError, match=r"^path=3 has to be the path of a file"):
        function(3)
    with pytest.raises(IsADirectoryError, match="is a folder; use the path of a file"):
        function(tmp_path)


def test_a_missing_file_is_named(path):
    with pytest.raises(FileNotFoundError, match=r"model\.sknn"):
        load(path)


def contents():
    """Yield files of other formats, and the error messages for them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", "{}")
    packed, saved, compressed = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({}, packed)
    np.save(saved, X)
    joblib.dump({}, compressed, compress=3)
    yield b"", "is empty"
    yield b"x", "its format is unknown"
    yield pickle.dumps({}), "looks like a pickle"
    yield compressed.getvalue(), "looks like a compressed pickle"
    yield buffer.getvalue(), "looks like a zip archive"
    yield packed.getvalue(), "looks like a zip archive"
    yield saved.getvalue(), "an array of numpy.save"
    yield b"\x08\x0a\x12\x04sknn" + bytes(50), "ONNX"
    yield b'{"a": 1}' + bytes(9), "a JSON text"
    yield safetensors.numpy.save({"w": X}), "is a safetensors file, but was not saved by sknn"


@pytest.mark.parametrize(("content", "message"), list(contents()))
def test_files_of_other_formats_are_refused(content, message, path):
    path.write_bytes(content)
    with pytest.raises(InvalidFileError, match=rf"^'.*model\.sknn' can't be loaded: it .*{message}"):
        load(path)


# --- Versions, damage, forgery ----------------------------------------------------------------------------------------


def test_a_file_of_a_newer_format_says_to_upgrade(reg, path):
    save(reg, path)
    forge(path, lambda document: document.update(format_version=99, written_by={"sknn": "7.0"}))
    with pytest.raises(
        InvalidFileError, match=r"by a newer sknn \(7\.0\) in format version 99; .* up to 1\. Upgrade it: pip"
    ):
        load(path)


@pytest.mark.parametrize("version", [0, -1, "1", 1.0, True, None])
def test_an_invalid_version_is_refused(version, reg, path):
    save(reg, path)
    forge(path, lambda document: document.update(format_version=version))
    with pytest.raises(InvalidFileError, match="has the format version"):
        load(path)


def test_a_damaged_file_is_refused(reg, path):
    save(reg, path)
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    with pytest.raises(InvalidFileError, match="is damaged: its content does not match its digest"):
        load(path)


def test_a_file_without_an_estimator_is_refused(reg, path):
    save(reg, path)
    forge(path, lambda document: document.update(model={"map": {}}))
    with pytest.raises(InvalidFileError, match="holds a dict instead of an estimator"):
        load(path)


def parameters_of(document):
    return document["model"]["object"]["state"]["map"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: parameters_of(d).update(alpha=-1), "'alpha' parameter of NeuralRegressor must be"),
        (lambda d: parameters_of(d).update(predict=1), "sets 'predict' of a NeuralRegressor"),
        (lambda d: parameters_of(d).update(__class__=1), "sets '__class__' of a NeuralRegressor"),
        (lambda d: parameters_of(d).update(_parameter_constraints={"map": {}}), "sets '_parameter_constraints'"),
        (
            lambda d: network_of(d).update(activation="exec"),
            "KeyError: 'exec'",
        ),
        (
            lambda d: network_of(d).update(hidden={"tuple": [10**6] * 3}),
            "zip",
        ),
        (
            lambda d: network_of(d).update(hidden={"tuple": [1] * 10**5}),
            "100000 hidden",
        ),
        (lambda d: d["model"]["object"].update({"class": "subprocess.Popen"}), "names the class 'subprocess.Popen'"),
    ],
)
def test_forged_documents_are_refused(change, message, reg, path):
    save(reg, path)
    forge(path, change)
    with pytest.raises(InvalidFileError, match=message):
        load(path)


def test_a_parameter_that_an_old_file_lacks_has_its_default(reg, path):
    save(reg, path)
    forge(path, lambda document: parameters_of(document).pop("weight_decay"))
    assert load(path).get_params() == reg.get_params()


def test_a_parameter_of_a_step_has_its_default_and_a_required_one_is_missed(path):
    save(make_pipeline(StandardScaler()).fit(X), path)
    forge(
        path,
        lambda document: parameters_of(document)["steps"][0]["tuple"][1]["object"]["state"]["map"].pop("with_mean"),
    )
    assert load(path)[0].get_params() == StandardScaler().get_params()

    forge(path, lambda document: parameters_of(document).pop("steps"))
    with pytest.raises(InvalidFileError, match=r"a Pipeline lacks the parameters \['steps'\]"):
        load(path)


# --- Devices and packages ---------------------------------------------------------------------------------------------


def test_a_saved_device_that_this_machine_lacks_is_replaced_by_the_cpu(reg, path):
    save(reg, path)
    forge(path, lambda document: parameters_of(document).update(device="cuda:77"))
    restored = load(path)
    assert restored.device_.type == "cpu"
    assert restored.device == "cuda:77"
    with pytest.raises(ValueError, match=r"device='cuda:77' is not on this machine"):
        load(path, device="cuda:77")


def test_the_device_can_be_chosen(reg, path):
    save(reg, path)
    restored = load(path, device="cpu")
    assert restored.device_.type == "cpu"
    np.testing.assert_array_equal(restored.predict(X), reg.predict(X))


def test_without_safetensors_the_extra_is_named(reg, path, monkeypatch):
    save(reg, path)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    for function in (lambda: save(reg, path), lambda: load(path)):
        with pytest.raises(ImportError, match=r"need safetensors; install it with: pip install 'sknn\[persistence\]'"):
            function()


def test_the_same_model_gives_the_same_file(reg, path, tmp_path):
    save(reg, path)
    save(load(path), tmp_path / "again.sknn")
    assert (tmp_path / "again.sknn").read_bytes() == path.read_bytes()


def test_loading_runs_no_pickle_and_no_other_code(reg, path):
    save(reg, path)
    program = (
        "import sys, sknn\n"
        "load = sknn.load\n"  # importing torch and others may run code
        "def audit(event, args):\n"
        "    assert not event.startswith(('pickle.', 'os.system', 'subprocess.', 'socket.')), event\n"
        "sys.addaudithook(audit)\n"
        "print(type(load(sys.argv[1])).__name__)\n"
    )
    assert printed("-c", program, path) == "NeuralRegressor\n"


def test_a_path_may_be_a_string(reg, path):
    save(reg, str(path))
    assert Path(path).exists()
    assert load(str(path)).n_features_in_ == 3


def test_after_partial_fit_a_file_holds_the_weights_and_adams_two_moments(path):
    wide = NeuralRegressor(**TINY | dict(hidden_layer_sizes=(200,))).partial_fit(np.resize(X, (N, 200)), VALUES)
    weights = 4 * sum(p.numel() for p in wide.module_.parameters())
    save(wide, path)
    assert path.stat().st_size < 3 * weights + 50_000
    assert path.stat().st_size > 3 * weights
