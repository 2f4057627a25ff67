"""Pipelines with other steps, which skl2onnx converts correctly, wrongly or not at all."""

import numpy as np
import pandas as pd
import pytest
import skl2onnx
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import BaggingClassifier, StackingClassifier
from sklearn.impute import SimpleImputer
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    SplineTransformer,
    StandardScaler,
)

from sknn import NeuralClassifier, NeuralRegressor
from sknn.export import to_onnx
from sknn.export.check import run_graph
from sknn.export.onnx.inputs import infer_inputs
from tests.common import TINY

RNG = np.random.default_rng(0)
X = RNG.normal(1e6, 2.0, size=(60, 3))
FRAME = pd.DataFrame(
    {"a": X[:, 0], "b": RNG.integers(0, 9, 60), "c": X[:, 2] > 1e6, "d": ["u", "v", np.nan] * 20, "e": list("xyz") * 20}
)
FRAME.loc[::7, "a"] = np.nan
Y = RNG.normal(size=60)


def assert_same(model, X):
    model.fit(X, Y)
    (values,) = run_graph(to_onnx(model, X), X, infer_inputs(X))
    np.testing.assert_allclose(values[:, 0], model.predict(X), rtol=1e-5, atol=1e-5)


NUMBERS = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
WORDS = make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), OneHotEncoder(handle_unknown="ignore"))


@pytest.mark.parametrize(
    "before",
    [
        make_column_transformer((NUMBERS, ["a", "b"]), (WORDS, ["d", "e"])),
        make_column_transformer((NUMBERS, ["a"]), ("passthrough", ["b", "c"])),
        make_column_transformer((SimpleImputer(), ["a", "b"]), (OrdinalEncoder(), ["e"]), remainder="drop"),
        make_column_transformer((MinMaxScaler(), ["b", "a"]), (StandardScaler(), [2])),
        make_column_transformer(("passthrough", ["b"])),
    ],
    ids=["imputed", "passed through", "ordinal", "reordered", "one column"],
)
def test_column_transformers_of_frames(before):
    assert_same(make_pipeline(before, NeuralRegressor(**TINY)), FRAME)


@pytest.mark.parametrize(
    "before",
    [
        StandardScaler(),
        make_pipeline(SimpleImputer(), MinMaxScaler(), PCA(2)),
        FeatureUnion([("scaled", StandardScaler()), ("least", MinMaxScaler())]),
        ColumnTransformer([("some", StandardScaler(), [2, 0])]),
    ],
    ids=["scaler", "nested", "union", "columns"],
)
def test_steps_on_arrays_keep_the_digits_of_large_means(before):
    assert_same(make_pipeline(before, NeuralRegressor(**TINY)), X)


DENSE = OneHotEncoder(sparse_output=False, handle_unknown="ignore")


@pytest.mark.parametrize(
    ("before", "columns"),
    [
        (make_column_transformer((StandardScaler(), ["a"]), remainder="passthrough"), "abcde"),
        (
            make_column_transformer((DENSE, ["e"]), (NUMBERS, ["b", "a"]), ("passthrough", ["d"]), ("drop", ["c"])),
            "ecabd",
        ),
        (make_column_transformer(("passthrough", [1, 0]), remainder=MinMaxScaler()), "aeb"),
    ],
    ids=["remainder", "between others", "first"],
)
def test_strings_that_pass_through_a_column_transformer_reach_the_estimator(before, columns):
    before.set_output(transform="pandas")
    assert_same(make_pipeline(before, NeuralRegressor(**TINY)), FRAME[list(columns)])


def test_numeric_columns_of_several_types_before_a_step_that_supports_one():
    assert_same(make_pipeline(StandardScaler(), NeuralRegressor(**TINY)), FRAME[["a", "b", "c"]])
    assert_same(make_pipeline(SimpleImputer(), NeuralRegressor(**TINY)), FRAME[["a", "b", "c"]])


@pytest.mark.parametrize("nothing", ["passthrough", None])
def test_empty_steps_do_nothing(nothing):
    model = Pipeline(
        [("empty", nothing), ("scale", StandardScaler()), ("none", nothing), ("net", NeuralRegressor(**TINY))]
    )
    assert_same(model, X)


@pytest.mark.parametrize(
    "around",
    [
        lambda: BaggingClassifier(NeuralClassifier(**TINY), n_estimators=2, random_state=0),
        lambda: StackingClassifier([("net", NeuralClassifier(**TINY))], cv=2),
        lambda: OneVsRestClassifier(NeuralClassifier(**TINY)),
        lambda: CalibratedClassifierCV(NeuralClassifier(**TINY), cv=2),
    ],
    ids=["bagging", "stacking", "one against the rest", "calibrated"],
)
def test_meta_estimators_of_our_estimators(around):
    table = X - 1e6
    model = around().fit(table, np.digitize(table[:, 0], [-1, 1]))
    p = run_graph(to_onnx(model, table), table, infer_inputs(table))[1]

    np.testing.assert_allclose(p, model.predict_proba(table), atol=1e-5)


def test_an_imputer_drops_columns_without_any_value():
    frame = FRAME[["a", "b"]].assign(z=np.nan)

    with pytest.warns(UserWarning, match="Skipping features without any observed values"):
        assert_same(make_pipeline(SimpleImputer(), NeuralRegressor(**TINY)), frame)


def test_inputs_keep_their_types_if_the_graph_computes_with_others():
    model = make_pipeline(PolynomialFeatures(2), StandardScaler(), NeuralRegressor(**TINY))
    frame = FRAME[["b", "c"]].astype({"b": np.int64})
    program = to_onnx(model.fit(frame, Y), frame)

    assert [i.type.tensor_type.elem_type for i in program.graph.input] == [7, 9]  # int64 and bool


def test_a_step_without_a_converter_is_named():
    model = make_pipeline(StandardScaler(), SplineTransformer(), NeuralRegressor(**TINY)).fit(X, Y)

    with pytest.raises(
        ValueError, match="Step 'splinetransformer' is a SplineTransformer, for which skl2onnx has no conver"
    ):
        to_onnx(model, X)


def test_a_nested_step_without_a_converter_is_named():
    splines = Pipeline([("splines", SplineTransformer())])
    model = make_pipeline(ColumnTransformer([("some", splines, [0])]), NeuralRegressor(**TINY)).fit(X, Y)

    with pytest.raises(ValueError, match="Step 'columntransformer__some__splines' is a SplineTransformer"):
        to_onnx(model, X)


def test_a_step_that_cannot_be_converted_for_these_columns_is_named():
    model = make_pipeline(SimpleImputer(missing_values=-1), NeuralRegressor(**TINY)).fit(FRAME[["b"]], Y)

    who = r"cannot do what step 'simpleimputer' \(SimpleImputer\) does, for these columns: SimpleImputer takes integer"
    with pytest.raises(ValueError, match=who):
        to_onnx(model, FRAME[["b"]])


class Doubler(TransformerMixin, BaseEstimator):
    """Doubles its input; its converter does not."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return 2 * X


def wrong_converter(scope, operator, container):
    container.add_node("Identity", operator.inputs[0].full_name, operator.outputs[0].full_name)


def same_shape(operator):
    operator.outputs[0].type = operator.inputs[0].type


@pytest.fixture
def wrong_doubler():
    skl2onnx.update_registered_converter(Doubler, "WrongDoubler", same_shape, wrong_converter)
    yield Doubler()
    del skl2onnx._supported_operators.sklearn_operator_name_map[Doubler]


def test_the_first_step_that_differs_is_named(wrong_doubler):
    steps = [("scale", StandardScaler()), ("double", wrong_doubler), ("net", NeuralRegressor(**TINY))]
    model = Pipeline(steps).fit(X, Y)

    who = (
        r"does not do what the model does, from step 'double' \(Doubler\) on: transform gives .* and the graph .* would"
    )
    with pytest.raises(ValueError, match=who):
        to_onnx(model, X)


def test_a_meta_estimator_that_skl2onnx_converts_wrongly_is_refused():
    model = CalibratedClassifierCV(NeuralClassifier(**TINY), method="isotonic", cv=2).fit(X, Y > 0)

    with pytest.raises(ValueError, match="from the CalibratedClassifierCV on: predict_proba gives"):
        to_onnx(model, X)


def test_a_converter_that_loses_digits_with_every_form_of_input_is_refused():
    model = make_pipeline(StandardScaler(), PolynomialFeatures(2), NeuralRegressor(**TINY)).fit(X, Y)

    with pytest.raises(ValueError, match=r"from step 'polynomialfeatures' \(PolynomialFeatures\) on: transform"):
        to_onnx(model, X)


def test_strings_beside_numeric_columns_between_two_steps_are_refused():
    first = make_column_transformer((StandardScaler(), ["a"]), ("passthrough", ["e"]), verbose_feature_names_out=False)
    second = make_column_transformer((DENSE, ["e"]), remainder="passthrough")
    model = make_pipeline(first.set_output(transform="pandas"), second, NeuralRegressor(**TINY)).fit(FRAME, Y)

    with pytest.raises(ValueError, match=r"step 'columntransformer-2' \(ColumnTransformer\)"):
        to_onnx(model, FRAME)
