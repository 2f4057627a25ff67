"""Attributes of scikit-learn's estimators that contradict each other are refused by `save` and `load`."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MinMaxScaler,
    MultiLabelBinarizer,
    OneHotEncoder,
    OrdinalEncoder,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)

from sknn import load, save
from sknn.persistence import InvalidFileError, checks

X = np.random.default_rng(0).normal(size=(60, 5))
Y = (X[:, 0] > 0).astype(int)
WORDS = np.array([["a", "x"], ["b", "y"], ["c", "x"], ["a", "z"]] * 15, dtype=object)
TEXTS = ["a good film", "a bad film", "good fun", "bad luck"] * 15
RECORDS = [{"size": i % 7, "kind": "ab"[i % 2]} for i in range(60)]
FRAME = pd.DataFrame(X[:, :2], columns=["u", "v"]).assign(city=WORDS[:, 0])
BINS = KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf")
COLUMNS = ColumnTransformer([("n", StandardScaler(), ["u", "v"]), ("c", OneHotEncoder(), ["city"])])
FITTED = StandardScaler().fit(X)
MISSING = object()

FORGED = [
    (StandardScaler(), X, dict(n_features_in_=5.0)),
    (StandardScaler(), X, dict(feature_names_in_=np.array(["a"] * 5, dtype=object))),
    (StandardScaler(), X, dict(mean_=np.zeros(4))),
    (StandardScaler(), X, dict(scale_=MISSING)),
    (StandardScaler(), X, dict(scale_=np.full(5, np.inf))),
    (StandardScaler(), X, dict(scale_=np.array(["a"] * 5))),
    (MinMaxScaler(), X, dict(min_=None)),
    (RobustScaler(), X, dict(center_=np.zeros((5, 1)))),
    (QuantileTransformer(n_quantiles=9), X, dict(references_=np.linspace(0, 1, 8))),
    (PCA(2), X, dict(components_=np.zeros((2, 4)))),
    (TruncatedSVD(2), X, dict(components_=np.zeros(5))),
    (LogisticRegression(), X, dict(intercept_=np.zeros(2))),
    (Ridge(), X, dict(coef_=np.zeros(4))),
    (DummyClassifier(), X, dict(n_classes_=MISSING)),
    (TransformedTargetRegressor(Ridge()), X, dict(regressor_=[])),
    (BINS, X, dict(bin_edges_=np.array([np.arange(4.0)[::-1]] * 5 + [None], dtype=object)[:5])),
    (BINS, X, dict(n_bins_=np.array([3, 3, 3, 3, 4]))),
    (SplineTransformer(4), X, dict(bsplines_=[])),
    (SplineTransformer(4), X, dict(n_features_out_=7)),
    (SimpleImputer(), X, dict(_fit_dtype=MISSING)),
    (SimpleImputer(), X, dict(_fill_dtype="float64")),
    (OneHotEncoder(), WORDS, dict(_n_features_outs=[1, 1])),
    (OneHotEncoder(), np.round(X[:, :1]), dict(categories_=[np.array([3.0, -3.0, 1.0, 0.0])])),
    (OneHotEncoder(drop="first"), WORDS, dict(_drop_idx_after_grouping=np.array([-9, 0], dtype=object))),
    (OneHotEncoder(drop="first"), WORDS, dict(_drop_idx_after_grouping=[0, 0])),
    (OneHotEncoder(min_frequency=20), WORDS, dict(_default_to_infrequent_mappings=[np.array([0, 9, 1]), None])),
    (OneHotEncoder(min_frequency=20), WORDS, dict(_infrequent_indices=[np.array([], dtype=int), None])),
    (OrdinalEncoder(), WORDS, dict(categories_=[np.array([["a"]]), np.array(["x"])])),
    (OrdinalEncoder(), WORDS, dict(categories_=[np.array([["a"], {}], dtype=object), np.array(["x"])])),
    (CountVectorizer(), TEXTS, dict(vocabulary_={"good": 1 << 40})),
    (CountVectorizer(), TEXTS, dict(ngram_range=(1, [1]))),
    (TfidfVectorizer(), TEXTS, dict(vocabulary_={"good": -1})),
    (TfidfVectorizer(), TEXTS, dict(vocabulary_={"good": 0})),
    (DictVectorizer(), RECORDS, dict(vocabulary_={"size": 7})),
    (MultiLabelBinarizer(), [{"a"}, {"b"}], dict(_cached_dict={"a": 1 << 30, "b": 1})),
    (MultiLabelBinarizer(), [{"a"}, {"b"}], dict(classes_=np.array(["a", "a", "b"], dtype=object))),
    (make_pipeline(StandardScaler(), Ridge()), X, dict(steps=[("a", StandardScaler()), ("b", Ridge().fit(X, Y))])),
    (make_pipeline(StandardScaler(), Ridge()), X, dict(steps=[("a", [1]), ("b", Ridge().fit(X, Y))])),
    (make_pipeline(StandardScaler(), Ridge()), X, dict(steps=[("a", FITTED), ("a", Ridge().fit(X, Y))])),
    (FeatureUnion([("a", PCA(1))]), X, dict(transformer_list=[("a", Ridge().fit(X, Y))])),
    (COLUMNS, FRAME, dict(transformers_=[("n", FITTED, ["u"], 1)])),
    (COLUMNS, FRAME, dict(transformers_=[("n", 0.5, ["u"])])),
    (COLUMNS, FRAME, dict(transformers_=[("n", StandardScaler(), ["u"])])),
    (COLUMNS, FRAME, dict(transformers_=[("n", FITTED, [0.5])])),
    (COLUMNS, FRAME, dict(_transformer_to_input_indices={"n": [0, 9], "c": [2], "remainder": []})),
    (COLUMNS, FRAME, dict(sparse_output_=MISSING)),
]  # fmt: skip


NAMES = [f"{type(step).__name__} {next(iter(forge))}" for step, _, forge in FORGED]


def fitted(step, table):
    step = clone(step)
    return step.fit(table) if isinstance(step, MultiLabelBinarizer) else step.fit(table, Y)


@pytest.mark.parametrize(("step", "table", "forge"), FORGED, ids=NAMES)
def test_contradicting_attributes_are_refused_by_save_and_load(step, table, forge, tmp_path, monkeypatch):
    forged = fitted(step, table)
    for name, value in forge.items():
        if value is MISSING:
            del vars(forged)[name]
        else:
            vars(forged)[name] = value
    message = f"the attributes of a {type(step).__name__} contradict each other"
    with pytest.raises(TypeError, match=message):
        save(forged, tmp_path / "model.sknn")
    with monkeypatch.context() as context:
        context.setattr(checks, "check_sklearn_estimator", lambda est: None)  # as someone who forges a file does
        save(forged, tmp_path / "model.sknn")

    with pytest.raises(InvalidFileError, match=f"{message}|not fitted yet"):
        load(tmp_path / "model.sknn")


@pytest.mark.parametrize(("step", "table"), [(step, table) for step, table, _ in FORGED], ids=NAMES)
def test_fitted_estimators_pass(step, table, tmp_path):
    save(fitted(step, table), tmp_path / "model.sknn")
    assert type(load(tmp_path / "model.sknn")) is type(step)
