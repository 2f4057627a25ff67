"""`ClassEncoder` and `ValueEncoder` against scikit-learn's preprocessing."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import DataConversionWarning
from sklearn.preprocessing import LabelBinarizer, StandardScaler

from sknn.preprocessing.scaling import power_of_two_unit
from sknn.preprocessing.targets import ClassEncoder, ValueEncoder, rescale_extreme_weights, rescale_for_scoring

quick = settings(max_examples=60, deadline=None, derandomize=True)
NUMBERS = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))

LABELS = {
    "strings": np.array(["no", "yes", "no"]),
    "objects": np.array(["no", "yes", "no"], dtype=object),
    "5 and 7": np.array([7, 5, 7]),
    "floats": np.array([1.0, 0.0, 2.0]),
    "bools": np.array([True, False, True]),
    "three": np.array(["b", "c", "a", "b"]),
    "pandas category": pd.Series(["b", "c", "a", "b"], dtype="category"),
    "pandas string": pd.Series(["b", "c", "b"], dtype="string").to_numpy(),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_are_encoded_as_by_label_binarizer_and_decoded(kind):
    y = LABELS[kind]
    encoder = ClassEncoder().fit(y)
    expected = LabelBinarizer().fit(y)
    np.testing.assert_array_equal(encoder.classes_, expected.classes_)
    assert encoder.kind_ == ("binary" if len(expected.classes_) == 2 else "multiclass")
    np.testing.assert_array_equal(encoder.transform(y), expected.transform(y))
    assert encoder.transform(y).dtype == np.float64
    np.testing.assert_array_equal(encoder.inverse_transform(encoder.transform(y)), np.asarray(y))


@given(
    y=st.one_of(
        st.lists(st.sampled_from(["", "a", "b", "a b", "é", "10", "9"]), min_size=2),
        st.lists(st.integers(-(2**40), 2**40), min_size=2),
        st.lists(st.booleans(), min_size=2),
    ).filter(lambda y: len(set(y)) > 1),
    shift=st.floats(-0.2, 0.2),
)
@quick
@pytest.mark.filterwarnings("ignore:The number of unique classes is greater")  # older versions of scikit-learn
def test_labels_are_decoded_from_probabilities_near_their_encoding(y, shift):
    y = np.array(y)
    encoder = ClassEncoder().fit(y)
    encoded = encoder.transform(y)
    assert encoded.shape == (len(y), 1 if len(encoder.classes_) == 2 else len(encoder.classes_))
    np.testing.assert_array_equal(encoder.classes_[encoder.codes(y)], y)
    np.testing.assert_array_equal(encoder.inverse_transform(np.abs(encoded - abs(shift))), y)


@given(y=hnp.arrays(np.int64, st.tuples(st.integers(1, 9), st.integers(2, 5)), elements=st.integers(0, 1)))
@quick
def test_dense_and_sparse_label_indicator_matrices_are_encoded_and_decoded(y):
    for labels in (y, sp.csr_array(y), sp.csr_matrix(y), y.astype(bool), y.astype(float)):
        encoder = ClassEncoder().fit(labels)
        assert encoder.kind_ == "multilabel"
        np.testing.assert_array_equal(encoder.classes_, np.arange(y.shape[1]))
        np.testing.assert_array_equal(encoder.transform(labels), y)
        np.testing.assert_array_equal(encoder.inverse_transform(0.9 * encoder.transform(labels)), y)


def test_a_column_vector_of_labels_is_accepted_with_the_warning_of_scikit_learn():
    y = np.array([["a"], ["b"]])
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        encoder = ClassEncoder().fit(y)
    assert encoder.classes_.tolist() == ["a", "b"]


def test_the_argument_classes_may_list_classes_that_do_not_occur():
    encoder = ClassEncoder().fit(np.array([7, 7]), classes=[9, 5, 7])
    assert encoder.kind_ == "multiclass"
    assert encoder.classes_.tolist() == [5, 7, 9]
    assert encoder.transform(np.array([7, 7])).tolist() == [[0, 1, 0]] * 2
    assert ClassEncoder().fit(np.array([7, 7]), classes=[5, 7]).transform(np.array([7])).tolist() == [[1]]


@pytest.mark.parametrize("y", [["a", "a"], [3, 3], [True, True]])
def test_a_single_class_is_a_column_of_ones(y):
    encoder = ClassEncoder().fit(np.array(y))
    assert encoder.classes_.tolist() == y[:1]
    assert encoder.transform(np.array(y)).tolist() == [[1], [1]]
    np.testing.assert_array_equal(encoder.inverse_transform(np.ones((2, 1))), y)


def test_an_unknown_class_is_named():
    encoder = ClassEncoder().fit(np.array(["a", "b"]))
    message = (
        r"^`y` has classes not in `self.classes_`: \['c', 'd'\], while `self.classes_` has \['a', 'b'\]\. For "
        r"partial_fit, name all of them in the first call's `classes`\.$"
    )
    with pytest.raises(ValueError, match=message):
        encoder.transform(np.array(["a", "d", "c"]))


def test_a_multiclass_multioutput_target_is_refused_in_fit_and_transform():
    y = np.array([[0, 1], [2, 1]])
    message = r"^y has several columns of several classes \(multiclass-multioutput\).*MultiOutputClassifier\.$"
    with pytest.raises(ValueError, match=message):
        ClassEncoder().fit(y)
    with pytest.raises(ValueError, match=r"^y has several columns, which hold \[0, 1, 2\]; labels must be 0 or 1\.$"):
        ClassEncoder().fit(np.array([[0, 1], [1, 1]])).transform(y)


def test_continuous_labels_are_refused():
    with pytest.raises(ValueError, match=r"^Unknown label type: continuous"):
        ClassEncoder().fit(np.array([0.5, 1.5]))


@pytest.mark.parametrize("y", [np.array([[0, 1, 1], [1, 0, 1]]), np.array([0, 1])])
def test_a_different_number_of_labels_is_refused(y):
    encoder = ClassEncoder().fit(np.array([[0, 1], [1, 1]]))
    with pytest.raises(
        ValueError, match=rf"^y has shape \({y.shape[0]},.*\); expected \(n, 2\) labels, as in the first"
    ):
        encoder.transform(y)


def test_label_columns_with_values_other_than_0_and_1_are_refused():
    y = np.array([[1, 2], [2, 1]])
    with pytest.raises(ValueError, match=r"^y has several columns, which hold \[1, 2\]; labels must be 0 or 1\.$"):
        ClassEncoder().fit(y).transform(y)


def test_several_columns_are_refused_after_a_fit_with_one():
    encoder = ClassEncoder().fit(np.array([0, 1]))
    with pytest.raises(ValueError, match=r"^y should be a 1d array"):
        encoder.transform(np.array([[0, 1], [1, 1]]))


# --- Values -------------------------------------------------------------------------------------------------------


@given(
    y=hnp.arrays(
        np.float64, st.one_of(st.tuples(st.integers(2, 9)), st.tuples(st.integers(2, 9), st.just(2))), elements=NUMBERS
    ),
    data=st.data(),
)
@quick
def test_values_are_standardised_as_by_scikit_learn_and_decoded(y, data):
    weight = data.draw(st.none() | hnp.arrays(np.float64, len(y), elements=st.integers(1, 4).map(float)))
    columns = y.reshape(len(y), -1)
    encoder = ValueEncoder(scaled=True).fit(y, weight)
    encoded = encoder.transform(y)
    assert encoded.shape == columns.shape
    np.testing.assert_allclose(encoder.center_, np.average(columns, axis=0, weights=weight), rtol=1e-9, atol=1e-9)
    varies = np.ptp(columns, axis=0) > 0  # values have 3 decimals, so a varying column varies by at least 0.001
    expected = StandardScaler().fit(columns, sample_weight=weight).scale_
    np.testing.assert_allclose(encoder.scale_[varies], expected[varies], rtol=1e-6)
    assert (encoder.scale_[~varies] == 1).all()
    np.testing.assert_allclose(encoded * encoder.scale_ + encoder.center_, columns, rtol=1e-9, atol=1e-9)


@given(
    y=hnp.arrays(np.float64, (5, 2), elements=st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)),
    weight=st.none() | st.just(np.arange(1.0, 6)),
)
@settings(quick, max_examples=200)
def test_values_of_any_size_are_encoded_within_5_standard_deviations_and_decoded(y, weight):
    encoder = ValueEncoder(scaled=True).fit(y, weight)
    encoded = encoder.transform(y)
    assert np.abs(encoded).max() < 5  # no value of five can be farther from the mean
    largest = np.abs(y).max(0)
    half = ValueEncoder(scaled=True).fit(y / 2, weight).inverse_transform(encoded)  # y itself may overflow
    assert (np.abs(half - y / 2) <= 1e-15 * largest + 1e-320).all()


@given(y=hnp.arrays(np.float64, 6, elements=NUMBERS), exponent=st.integers(-900, 900))
@quick
def test_divided_by_their_power_of_two_values_are_less_than_2(y, exponent):
    unit = power_of_two_unit(np.ldexp(y, exponent)[:, None])
    assert np.frexp(unit)[0] == 0.5
    assert (np.abs(np.ldexp(y, exponent) / unit) < 2).all()
    predicted = y + 1
    rescaled = rescale_for_scoring(np.ldexp(y, exponent), np.ldexp(predicted, exponent))
    np.testing.assert_array_equal(rescaled, rescale_for_scoring(y, predicted))


@pytest.mark.parametrize("exponent", [-900, -50, 0, 50, 900])
def test_weights_stay_the_same_or_are_divided_by_a_power_of_two(exponent):
    weight = np.array([1.0, 3.0, 0.25])
    rescaled = rescale_extreme_weights(np.ldexp(weight, exponent))
    np.testing.assert_array_equal(rescaled, weight if exponent == 0 else weight / 2)


@pytest.mark.parametrize("n", [3, 7, 10, 1000])
@pytest.mark.parametrize("value", [0.1, -3.3e8, 0.0, 1e300, 1e-300])
def test_a_constant_target_is_zero_and_not_divided_by_a_rounding_error(value, n):
    encoder = ValueEncoder(scaled=True).fit(np.full(n, value))
    assert encoder.scale_.tolist() == [1]
    assert encoder.center_.tolist() == [value]


@pytest.mark.parametrize("positive", [None, "zero or more", "above zero"])
def test_values_without_scaling_stay_the_same(positive):
    y = np.array([1.0, 4.0, 2.0])
    np.testing.assert_array_equal(ValueEncoder(scaled=False, positive=positive).fit(y).transform(y), y[:, None])


@given(y=hnp.arrays(np.float64, (6, 2), elements=NUMBERS.map(abs)), weighted=st.booleans())
@quick
def test_values_for_a_log_link_are_divided_by_their_mean_and_stay_positive(y, weighted):
    weight = np.arange(1.0, 7) if weighted else None
    encoder = ValueEncoder(scaled=True, positive="zero or more").fit(y, weight)
    encoded = encoder.transform(y)
    assert (encoder.center_ == 0).all()
    assert (encoded >= 0).all()
    mean = np.average(y, axis=0, weights=weight)
    np.testing.assert_allclose(encoded * np.where(mean > 0, mean, 1), y, rtol=1e-9)


@pytest.mark.parametrize(
    ("positive", "y", "message"),
    [
        ("zero or more", [1.0, -2.0], "y holds -2, but this loss needs values zero or more"),
        ("above zero", [1.0, 0.0], "y holds 0, but this loss needs values above zero"),
        ("above zero", [[1.0], [-0.5]], "y holds -0.5, but this loss needs values above zero"),
    ],
)
def test_a_loss_with_a_log_link_refuses_values_of_the_wrong_sign(positive, y, message):
    encoder = ValueEncoder(scaled=True, positive=positive)
    with pytest.raises(ValueError, match=rf"^{message}; use loss='squared_error', or shift y\.$"):
        encoder.fit(np.array(y))
    with pytest.raises(ValueError, match=f"^{message}"):
        encoder.fit(np.array([1.0, 2.0])).transform(np.array(y))


def test_zero_is_allowed_for_a_loss_of_counts():
    encoder = ValueEncoder(scaled=True, positive="zero or more").fit(np.array([0, 4]))
    assert encoder.transform(np.array([0, 4])).tolist() == [[0], [2]]
    assert ValueEncoder(scaled=True, positive="zero or more").fit(np.array([0, 0])).scale_.tolist() == [1]


def test_a_different_number_of_outputs_is_refused():
    encoder = ValueEncoder(scaled=True).fit(np.array([[1.0, 2.0], [3.0, 5.0]]))
    with pytest.raises(ValueError, match=r"^y has 1 outputs; expected 2, as in the first fit\.$"):
        encoder.transform(np.array([1.0, 2.0]))
