"""Every listed class makes a round trip; objects of other classes are refused by name."""

import importlib

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.special import expit
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.decomposition import PCA, FastICA, IncrementalPCA, TruncatedSVD
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    RandomForestClassifier,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.feature_selection import (
    RFE,
    RFECV,
    GenericUnivariateSelect,
    SelectFdr,
    SelectFpr,
    SelectFromModel,
    SelectFwe,
    SelectKBest,
    SelectPercentile,
    SequentialFeatureSelector,
    VarianceThreshold,
    f_regression,
)
from sklearn.frozen import FrozenEstimator
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    HuberRegressor,
    Lasso,
    LassoCV,
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
)
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor, RegressorChain
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    LabelBinarizer,
    LabelEncoder,
    MaxAbsScaler,
    MinMaxScaler,
    MultiLabelBinarizer,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection

from sknn import NeuralClassifier, NeuralRegressor, load, save
from sknn.persistence.classes import CLASSES, SKNN_MODULES, class_by_name, name_of_class

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5))
GAPS = np.where(RNG.random(X.shape) < 0.1, np.nan, X)
WORDS = np.array([["a", "x"], ["b", "y"], ["c", "x"], ["a", "z"]] * 15, dtype=object)
TEXTS = ["a good film", "a bad film", "good fun", "bad luck"] * 15
RECORDS = [{"size": i % 7, "kind": "ab"[i % 2]} for i in range(60)]
VALUES = X @ np.arange(5.0)
LABELS = np.where(VALUES > 0, "up", "down")
THREE = np.array(["p", "q", "r"])[np.digitize(VALUES, [-3, 3])]
TWO_VALUES = np.stack([VALUES, -VALUES], 1)
TWO_LABELS = np.stack([VALUES > 0, X[:, 0] > 0], 1).astype(int)
FRAME = pd.DataFrame(X[:, :2], columns=["u", "v"]).assign(city=WORDS[:, 0], shop=WORDS[:, 1])
TINY = dict(hidden_layer_sizes=(3,), max_iter=1, ensemble_size=1, random_state=0, n_threads=1, dropout=0.0)


def net(**params):
    return NeuralClassifier(**TINY | params)


def reg(**params):
    return NeuralRegressor(**TINY | params)


NUMERIC_STEPS = [
    *(StandardScaler(), MinMaxScaler(), MaxAbsScaler(), RobustScaler(), Normalizer(), Binarizer(), PCA(3)),
    *(PowerTransformer(), QuantileTransformer(n_quantiles=20), PolynomialFeatures(), SplineTransformer(n_knots=4)),
    *(KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"), FunctionTransformer(np.arctan)),
    *(FunctionTransformer(expit), IncrementalPCA(2), FastICA(2, random_state=0, tol=0.1)),
    *(TruncatedSVD(2, random_state=np.random.RandomState(3)), RBFSampler(n_components=4, random_state=0)),
    *(GaussianRandomProjection(2, random_state=0), SparseRandomProjection(2, random_state=0), VarianceThreshold()),
    *(
        SelectKBest(f_regression, k=2),
        SelectPercentile(f_regression, percentile=50),
        SelectFdr(f_regression, alpha=0.5),
    ),
    *(
        SelectFpr(f_regression, alpha=0.5),
        SelectFwe(f_regression, alpha=0.5),
        GenericUnivariateSelect(f_regression, mode="k_best", param=2),
    ),
    *(SelectFromModel(Ridge()), RFE(Ridge(), n_features_to_select=2), RFECV(Ridge(), cv=2)),
    *(SequentialFeatureSelector(Ridge(), n_features_to_select=2, cv=2), FrozenEstimator(StandardScaler().fit(X))),
    *(FeatureUnion([("pca", PCA(2)), ("max", MaxAbsScaler())]), make_pipeline(StandardScaler(), PCA(2))),
]


def each(table, y, *steps):
    return [(step, table, y) for step in steps]


CASES = [
    *each(X, VALUES, *NUMERIC_STEPS),
    *each(GAPS, VALUES, SimpleImputer(add_indicator=True), MissingIndicator(), StandardScaler()),
    *each(WORDS, VALUES, OneHotEncoder(), OrdinalEncoder(), TargetEncoder(cv=2), SimpleImputer(strategy="constant")),
    *each(WORDS, VALUES, OneHotEncoder(categories=[["c", "b", "a"], ["x", "y", "z", "w"]])),
    *each(WORDS, VALUES, OneHotEncoder(drop="if_binary", min_frequency=20, handle_unknown="infrequent_if_exist")),
    *each(np.round(X), VALUES, OneHotEncoder(drop="first", sparse_output=False, dtype=np.float32)),
    *each(TEXTS, VALUES, CountVectorizer(), TfidfVectorizer(max_features=3)),
    *each(TEXTS, VALUES, make_pipeline(HashingVectorizer(n_features=16), TfidfTransformer())),
    *each(TEXTS, VALUES, make_pipeline(CountVectorizer(min_df=2), TfidfTransformer())),
    *each(RECORDS, VALUES, DictVectorizer(), make_pipeline(FeatureHasher(8), StandardScaler(with_mean=False))),
    *each(
        *(FRAME, VALUES),
        ColumnTransformer([("n", StandardScaler(), ["u", "v"]), ("c", OneHotEncoder(), ["city"])]),
        ColumnTransformer([("n", "passthrough", make_column_selector(dtype_include="number"))]),
        ColumnTransformer([("n", PCA(1), FRAME.columns[:2]), ("c", "drop", "shop")], remainder=OrdinalEncoder()),
    ),
    *each(X, VALUES, ColumnTransformer([("n", PCA(1), slice(0, 2))], remainder="passthrough")),
    *each(X, VALUES, BayesianRidge(), ElasticNet(), ElasticNetCV(cv=2), HuberRegressor(max_iter=1000), Lasso()),
    *each(X, VALUES, LassoCV(cv=2), LinearRegression(), Ridge(), RidgeCV(), DummyRegressor()),
    *each(
        *(X, VALUES),
        BaggingRegressor(Ridge(), 2, random_state=0),
        VotingRegressor([("a", Ridge()), ("b", reg())]),
        StackingRegressor([("a", Ridge()), ("b", reg())], cv=2),
        TransformedTargetRegressor(reg(), func=np.arcsinh, inverse_func=np.sinh),
        TransformedTargetRegressor(reg(), transformer=MinMaxScaler()),
    ),
    *each(X[:, 0], VALUES, IsotonicRegression(out_of_bounds="clip")),
    *each(X, TWO_VALUES, MultiOutputRegressor(reg()), RegressorChain(reg())),
    *each(X, LABELS, LogisticRegression(), RidgeClassifier(), RidgeClassifierCV(), DummyClassifier()),
    *each(
        *(X, LABELS),
        BaggingClassifier(net(), 2, random_state=0),
        VotingClassifier([("a", LogisticRegression()), ("b", net())], voting="soft"),
        StackingClassifier([("a", LogisticRegression()), ("b", net())], cv=2),
        FixedThresholdClassifier(net(), threshold=0.3, pos_label="up"),
        CalibratedClassifierCV(net(), cv=2),
        CalibratedClassifierCV(net(), cv=2, method="isotonic"),
        make_pipeline(StandardScaler(), net()),
    ),
    *each(X, THREE, OneVsOneClassifier(net())),
    *each(X, TWO_LABELS, MultiOutputClassifier(net()), ClassifierChain(net())),
    *each(THREE, None, LabelEncoder(), LabelBinarizer(sparse_output=True)),
    *each([{"a"}, {"a", "b"}], None, MultiLabelBinarizer()),
]


def results(fitted, table):
    """Return the outputs of a fitted step as dense arrays."""
    names = ("predict_proba", "predict") if hasattr(fitted, "predict") else ("transform",)
    values = [getattr(fitted, name)(table) for name in names if hasattr(fitted, name)]
    return [value.toarray() if sp.issparse(value) else np.asarray(value) for value in values]


def fitted(step, table, y):
    return clone(step).fit(table) if y is None else clone(step).fit(table, y)


@pytest.mark.parametrize(
    ("step", "table", "y"), CASES, ids=[f"{i}-{type(case[0]).__name__}" for i, case in enumerate(CASES)]
)
def test_outputs_are_the_same_after_a_round_trip(step, table, y, tmp_path):
    before = fitted(step, table, y)
    save(before, tmp_path / "step.sknn")

    after = load(tmp_path / "step.sknn")

    assert type(after) is type(before)
    for actual, expected in zip(results(after, table), results(before, table), strict=True):
        assert actual.dtype == expected.dtype
        if isinstance(step, IncrementalPCA):  # its array is a view with gaps, which change the rounding; as with pickle
            np.testing.assert_allclose(actual, expected, rtol=1e-12)
        else:
            np.testing.assert_array_equal(actual, expected)


def test_every_listed_estimator_is_among_the_cases():
    listed = {name for module, names in CLASSES.items() if module.startswith("sklearn") for name in names}
    seen, visited = set(), {}

    def visit(value):
        if id(value) in visited:
            return
        visited[id(value)] = value
        seen.add(type(value).__name__)
        parts = (
            value.__dict__.values() if hasattr(value, "__dict__") else value if isinstance(value, list | tuple) else ()
        )
        for part in parts:
            visit(part)

    for case in CASES:
        visit(fitted(*case))
    assert listed - seen == set()


@pytest.mark.parametrize("module", CLASSES)
def test_every_listed_class_exists(module):
    for name in CLASSES[module]:
        cls = class_by_name(f"{module}.{name}")
        home = SKNN_MODULES.get(f"{module}.{name}", module)
        assert cls is getattr(importlib.import_module(home), name)
        assert name_of_class(cls) == f"{module}.{name}"


class Subclass(StandardScaler):
    pass


class OwnStep(BaseEstimator):
    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return X


def own_function(X):
    return X


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (OwnStep(), r"steps\.first is a tests\.persistence\.test_classes\.OwnStep, which can't be saved without code"),
        (Subclass(), r"steps\.first is a tests\.persistence\.test_classes\.Subclass"),
        (
            FunctionTransformer(own_function),
            r"steps\.first\.func is the class or function .*test_classes\.own_function",
        ),
        (FunctionTransformer(lambda X: X), r"steps\.first\.func is the class or function .*<lambda>"),
        (RandomForestClassifier(2), r"steps\.first is a sklearn\.ensemble\._forest\.RandomForestClassifier"),
        (KNeighborsClassifier(2), r"steps\.first is a sklearn\.neighbors\._classification\.KNeighborsClassifier"),
        (OneVsRestClassifier(Ridge()), r"steps\.first is a sklearn\.multiclass\.OneVsRestClassifier"),
        (FunctionTransformer(kw_args={"a": 1j}), r"steps\.first\.kw_args\.a is a builtins\.complex"),
    ],
)
def test_an_object_of_another_class_is_refused_with_its_path(step, message, tmp_path):
    steps = [("first", FunctionTransformer() if hasattr(step, "predict") else step), ("net", net())]
    pipeline = Pipeline(steps if not hasattr(step, "predict") else [("first", FrozenEstimator(step.fit(X, LABELS)))])
    if hasattr(step, "predict"):
        message = message.replace(r"steps\.first", r"steps\.first\.estimator")
    elif "kw_args" not in message:
        pipeline.fit(X, LABELS)
    else:
        pipeline.fitted_ = pipeline.steps[1][1].fit(X, LABELS)
    with pytest.raises(TypeError, match=message):
        save(pipeline, tmp_path / "model.sknn")
    assert list(tmp_path.iterdir()) == []
