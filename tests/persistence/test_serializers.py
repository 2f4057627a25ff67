"""Serializers: what survives a round trip besides the outputs, and what a forged state can't change."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV, RidgeCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MultiLabelBinarizer, OneHotEncoder, StandardScaler

from sknn import NeuralClassifier, NeuralRegressor, load, save
from sknn.persistence import InvalidFileError
from sknn.persistence.container import pack, unpack
from tests.common import printed

X = np.random.default_rng(0).normal(size=(60, 5))
WORDS = np.array([["a", "x"], ["b", "y"], ["c", "x"], ["a", "z"]] * 15, dtype=object)
VALUES = X @ np.arange(5.0)
LABELS = np.where(VALUES > 0, "up", "down")
FRAME = pd.DataFrame(X[:, :2], columns=["u", "v"])
TINY = dict(hidden_layer_sizes=(3,), max_iter=1, ensemble_size=1, random_state=0, n_threads=1, dropout=0.0)


def net():
    return NeuralClassifier(**TINY)


def test_metadata_requests_survive(tmp_path):
    with config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(FunctionTransformer(), net().set_fit_request(sample_weight=True)).fit(
            X, LABELS, sample_weight=X[:, 0] ** 2
        )
        save(pipeline, tmp_path / "model.sknn")
        restored = load(tmp_path / "model.sknn")
        request = restored[-1].get_metadata_routing().fit.requests
    assert request["sample_weight"] is True


@pytest.mark.parametrize("step", [RidgeCV(), RidgeClassifierCV(), CalibratedClassifierCV(LogisticRegression(), cv=2)])
def test_metadata_requests_of_meta_estimators_survive(step, tmp_path):
    with config_context(enable_metadata_routing=True):
        before = step.set_fit_request(sample_weight="weight").fit(X, X[:, 0] > 0)
        save(before, tmp_path / "model.sknn")
        after = load(tmp_path / "model.sknn")
        assert str(after.get_metadata_routing()) == str(before.get_metadata_routing())
        assert after.set_fit_request(sample_weight=True)._metadata_request.fit.requests == {"sample_weight": True}


def test_set_output_survives(tmp_path):
    scaler = StandardScaler().set_output(transform="pandas").fit(FRAME[["u", "v"]])
    save(scaler, tmp_path / "model.sknn")
    pd.testing.assert_frame_equal(
        load(tmp_path / "model.sknn").transform(FRAME[["u", "v"]]), scaler.transform(FRAME[["u", "v"]])
    )


def test_an_object_that_occurs_twice_is_restored_as_one(tmp_path):
    voting = VotingClassifier([("a", LogisticRegression()), ("b", net())]).fit(X, LABELS)
    save(voting, tmp_path / "model.sknn")
    restored = load(tmp_path / "model.sknn")
    assert restored.named_estimators_["b"] is restored.estimators_[1]


def test_a_multilabel_binarizer_survives_after_its_first_transform(tmp_path):
    labels = [{"a"}, {"a", "b"}]
    binarizer = MultiLabelBinarizer().fit(labels)
    expected = binarizer.transform(labels)
    save(binarizer, tmp_path / "model.sknn")
    np.testing.assert_array_equal(load(tmp_path / "model.sknn").transform(labels), expected)


def test_invalid_parameters_are_refused(tmp_path):
    clf = net().fit(X, LABELS).set_params(alpha=-1.0)
    with pytest.raises(TypeError, match=r"The 'alpha' parameter of NeuralClassifier must be .*; got -1\.0"):
        save(clf, tmp_path / "model.sknn")


# --- Forged files -----------------------------------------------------------------------------------------------------


def forge(path, change):
    """Rewrite a file with another document and its digest."""
    text, arrays = unpack(path.read_bytes())
    document = json.loads(text)
    change(document["model"])
    path.write_bytes(pack(json.dumps(document), arrays))


def objects(tree):
    """Return all objects in a document."""
    if isinstance(tree, list):
        return [found for item in tree for found in objects(item)]
    if not isinstance(tree, dict):
        return []
    return ([tree["object"]] if "object" in tree else []) + [found for item in tree.values() for found in objects(item)]


def n_jobs_of(model):
    return {name: value for name, value in model.get_params().items() if name.rpartition("__")[2] == "n_jobs"}


def test_n_jobs_is_none_after_loading(tmp_path):
    parts = [("n", FeatureUnion([("pca", PCA(1)), ("all", StandardScaler())], n_jobs=2), ["u", "v"])]
    model = make_pipeline(ColumnTransformer(parts, n_jobs=2), VotingClassifier([("a", net()), ("b", net())], n_jobs=2))
    model.fit(FRAME, LABELS)
    save(model, tmp_path / "model.sknn")

    def set_n_jobs(document):
        for each in objects(document):
            state = each["state"]["map"] if isinstance(each["state"], dict) and "map" in each["state"] else {}
            state.update({"n_jobs": 6} if "n_jobs" in state else {})

    forge(tmp_path / "model.sknn", set_n_jobs)
    restored = load(tmp_path / "model.sknn")

    assert set(n_jobs_of(model).values()) == {2}  # saving does not change it
    assert n_jobs_of(restored) == dict.fromkeys(n_jobs_of(model), None)
    assert restored[0].transformers_[0][1].n_jobs is None
    np.testing.assert_array_equal(restored.predict(FRAME), model.predict(FRAME))


def test_a_forged_file_starts_no_processes(tmp_path):
    save(ColumnTransformer([("a", PCA(1), [0, 1]), ("b", PCA(1), [2, 3])]).fit(X), tmp_path / "model.sknn")
    forge(tmp_path / "model.sknn", lambda document: document["object"]["state"]["map"].update(n_jobs=6))
    program = (
        "import sys, numpy as np\n"
        "from sknn import load\n"
        "from joblib.externals.loky import reusable_executor\n"
        "load(sys.argv[1]).transform(np.ones((3, 5)))\n"
        "print(reusable_executor._executor)\n"
    )
    assert printed("-c", program, tmp_path / "model.sknn") == "None\n"


def test_a_forged_file_can_not_replace_attributes_of_a_class(tmp_path):
    for name in (
        "_doc_link_template",
        "_known_names",
        "_parameter_constraints",
        "_subclass_hooks",
        "predict",
        "__class__",
    ):
        save(NeuralRegressor(**TINY).fit(X, VALUES), tmp_path / "model.sknn")
        forge(tmp_path / "model.sknn", lambda document: document["object"]["state"]["map"].update({name: "x"}))
        with pytest.raises(
            InvalidFileError, match=f"sets '{name}' of a NeuralRegressor, which is not an attribute of its instances"
        ):
            load(tmp_path / "model.sknn")


@pytest.mark.parametrize("dtype", ["<U1000000", {"dtype": "<U1000000"}, {"dtype": "|S99"}, {"type": "builtins.str"}])
def test_a_parameter_dtype_of_strings_is_refused(dtype, tmp_path):
    save(OneHotEncoder().fit(WORDS), tmp_path / "model.sknn")
    forge(tmp_path / "model.sknn", lambda document: document["object"]["state"]["map"].update(dtype=dtype))
    with pytest.raises(InvalidFileError, match=r"dtype of a OneHotEncoder has to be numeric|holds the dtype"):
        load(tmp_path / "model.sknn")


def test_an_estimator_that_is_not_fitted_is_refused(tmp_path):
    save(make_pipeline(StandardScaler(), net()).fit(X, LABELS), tmp_path / "model.sknn")

    def unfit(document):
        network = next(each for each in objects(document) if each["class"] == "sknn.NeuralClassifier")
        state = network["state"]["map"]
        for name in [name for name in state if name.endswith("_") or name in ("_net", "_features")]:
            del state[name]

    forge(tmp_path / "model.sknn", unfit)
    with pytest.raises(InvalidFileError, match=r"NotFittedError: This Pipeline instance is not fitted yet"):
        load(tmp_path / "model.sknn")
