"""The codec: values and objects of listed classes are restored, everything else is refused."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn.persistence.codec import MAX_DEPTH, MAX_NESTED, MAX_OBJECTS, Decoder, Encoder


def round_trip(value):
    encoder = Encoder()
    document = json.loads(json.dumps(encoder.encode(value), allow_nan=False))
    return Decoder(encoder.arrays, {}).decode(document)


def assert_same(one, other):
    assert type(one) is type(other)
    if isinstance(other, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        if other.dtype == object:
            assert_same(one.ravel().tolist(), other.ravel().tolist())
        else:
            assert one.tobytes() == other.tobytes()
    elif isinstance(other, dict):
        assert list(map(repr, one)) == list(map(repr, other))
        for one_item, other_item in zip(one.values(), other.values(), strict=True):
            assert_same(one_item, other_item)
    elif isinstance(other, list | tuple):
        assert len(one) == len(other)
        for one_item, other_item in zip(one, other, strict=True):
            assert_same(one_item, other_item)
    else:
        assert one == other or (one != one and other != other)
        assert not isinstance(other, float) or other != other or math.copysign(1, one) == math.copysign(1, other)


kinds = "biufUSmMc"
dtypes = st.one_of(
    *(
        hnp.integer_dtypes(),
        hnp.unsigned_integer_dtypes(),
        hnp.floating_dtypes(sizes=(16, 32, 64)),
        hnp.boolean_dtypes(),
    ),
    *(
        hnp.byte_string_dtypes(),
        hnp.unicode_string_dtypes(),
        hnp.datetime64_dtypes(),
        hnp.complex_number_dtypes(sizes=(64, 128)),
    ),
)
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
keys = st.text(max_size=5) | st.integers() | st.booleans() | st.tuples(st.integers())
values = st.recursive(
    plain | arrays,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values)
def test_values_are_restored(value):
    assert_same(round_trip(value), value)


@given(arrays)
def test_numpy_scalars_of_common_types_are_restored(array):
    for scalar in array.ravel()[:3]:
        if scalar.dtype.kind in "biufU":
            assert_same(round_trip(scalar), scalar)


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(12.0).reshape(3, 4)[:, ::2],
        np.arange(12.0).reshape(3, 4).T[1:],
        np.array(["a", "bcd"]),
        np.array(["\U0001f600"]),
        np.array([], dtype="<U3"),
        np.array([[1, "a"], [None, 2.5]], dtype=object),
        np.array([(1, 2), "x"], dtype=object),
        np.arange(3, dtype=">i4"),
        np.array(5),
    ],
)
def test_arrays_of_every_layout_are_restored(array):
    restored = round_trip(array)
    assert_same(restored, array)
    assert restored.flags.f_contiguous == (array.flags.f_contiguous or array.strides[:1] < array.strides[1:2])
    assert restored.flags.writeable


@pytest.mark.parametrize(
    "value", [slice(1, None, 2), {1, 2}, frozenset({"a"}), np.dtype("float32"), np.float32, str, np.log1p]
)
def test_objects_of_listed_classes_are_restored(value):
    assert round_trip(value) == value


def test_a_random_state_continues_with_the_same_numbers():
    random = np.random.RandomState(3)
    random.normal(size=701)
    restored = round_trip(random)
    np.testing.assert_array_equal(restored.normal(size=9), random.normal(size=9))


@pytest.mark.parametrize(
    "index", [pd.Index(["a", "b"], name="n"), pd.RangeIndex(3), pd.Index([1.5, 2]), pd.Index(["a", 1])]
)
def test_a_pandas_index_is_restored(index):
    restored = round_trip(index)
    pd.testing.assert_index_equal(restored, index, exact="equiv")
    assert restored.dtype == index.dtype


@pytest.mark.parametrize("matrix", [sp.csr_array(np.eye(3)), sp.csc_matrix(np.eye(2, 5)), sp.csr_matrix((3, 0))])
def test_sparse_tables_are_restored(matrix):
    restored = round_trip(matrix)
    assert type(restored) is type(matrix)
    np.testing.assert_array_equal(restored.toarray(), matrix.toarray())


def test_an_object_that_occurs_twice_is_restored_as_one():
    array, shared = np.arange(3), {1}
    one, two, three, four = round_trip([array, array, shared, shared])
    assert one is two
    assert three is four


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"a": [1, object()]},
            r"^a\.1 is a builtins\.object, which can't be saved without code in the file: use plain",
        ),
        ({"f": print}, r"^f is the class or function builtins\.print"),
        ([("scale", (1, b"x"))], r"^0\.1 is a builtins\.bytes|^scale\.1 is a builtins\.bytes"),
        (np.array([1j, None]), r"^0 is a builtins\.complex"),
        (np.zeros(2, dtype=[("a", int)]), r"^the object itself is an array of dtype\(\[\('a'"),
        (np.zeros(2, dtype=np.longdouble), "^the object itself is an array of dtype"),
        (np.zeros(0, dtype="<U9999"), "^the object itself is an array of dtype"),
        (np.dtype("<U3"), r"^the object itself is a dtype\('<U3'\)"),
        (np.ma.masked_array([1]), r"^the object itself is a numpy\.ma\.MaskedArray"),
        (range(3), r"^the object itself is a builtins\.range"),
        (pd.Series([1]), r"^the object itself is a pandas\.(core\.series\.)?Series"),
    ],
)
def test_any_other_value_is_refused_with_its_path(value, message):
    with pytest.raises(TypeError, match=message):
        Encoder().encode(value)


def test_a_value_that_contains_itself_is_refused():
    loop = np.empty(1, dtype=object)
    loop[0] = {"loop": [loop]}
    with pytest.raises((TypeError, RecursionError)):
        Encoder().encode(loop)


def test_too_deeply_nested_values_are_refused_by_encoder_and_decoder():
    value, document = 0, 0
    for _ in range(MAX_DEPTH + 12):
        value, document = [value], [document]
    with pytest.raises(TypeError, match=f"^0.0.0.0 is nested more than {MAX_DEPTH} deep"):
        Encoder().encode(value)
    with pytest.raises(ValueError, match="nested too deeply"):
        Decoder({}, {}).decode(document)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"eval": "1"}, r"unknown kind of value \['eval'\]"),
        ({"tuple": [], "map": {}}, "unknown kind"),
        ({"type": "os.system"}, "names the type 'os.system', which is not on the list"),
        ({"function": "builtins.eval"}, "names the function 'builtins.eval'"),
        ({"function": "numpy.save"}, "names the function 'numpy.save'"),
        ({"type": "sknn.NeuralClassifier"}, "names the type 'sknn.NeuralClassifier'"),
        ({"object": {"class": "os.system", "state": {"map": {}}}}, "names the class 'os.system'"),
        ({"object": {"class": "torch.optim.SGD", "state": {"map": {}}}}, "names the class 'torch.optim.SGD'"),
        ({"object": {"class": 3, "state": {"map": {}}}}, "names the class 3"),
        ({"same": 0}, "refers to object 0 of 0"),
        ({"given": "module"}, "unknown kind"),
        ({"objects": {"shape": [1 << 60], "values": [1]}}, "holds 1 objects for the shape"),
        ({"objects": {"shape": [-1], "values": [1]}}, "holds 1 objects for the shape"),
        ({"scalar": ["object", 1]}, "scalar of the type object"),
        ({"dtype": "O"}, "holds the dtype 'O'"),
        ({"dtype": "<U1000000"}, "holds the dtype '<U1000000'"),
        ({"array": {"tensor": "none", "dtype": "<U1000000"}}, "holds an empty array of strings of 4000000 bytes"),
        ({"map": []}, "a list instead of a dict"),
        ({"array": {"tensor": "flags"}}, "bools that are neither true nor false"),
        ({"array": {"tensor": "points", "dtype": "<U1"}}, "characters that do not exist"),
        ({"array": {"tensor": "points", "dtype": "<U99999999"}}, "as bytes of <U99999999"),
        ({"array": {"tensor": "points", "dtype": "|O"}}, "as bytes of |O"),
    ],
)
def test_forged_documents_are_refused(document, message):
    arrays = {"flags": np.array([0, 7], dtype=np.uint8).view(bool), "points": np.full((1, 4), 255, dtype=np.uint8)}
    arrays["none"] = np.zeros((0, 4_000_000), dtype=np.uint8)
    with pytest.raises(ValueError, match=message.replace("|O", r"\|O")):
        Decoder(arrays, {"module": print}).decode(document)


def test_a_random_state_with_a_position_out_of_bounds_is_refused():
    encoder = Encoder()
    document = json.loads(json.dumps(encoder.encode(np.random.RandomState(0))).replace('"pos": 624', '"pos": 100000'))
    with pytest.raises(ValueError, match="holds an invalid random state"):
        Decoder(encoder.arrays, {}).decode(document)


def test_a_sparse_table_with_indices_out_of_bounds_is_refused():
    encoder = Encoder()
    document = encoder.encode(sp.csr_array(np.eye(3)))
    name = next(name for name in encoder.arrays if name.endswith("indices"))
    encoder.arrays[name] = encoder.arrays[name] + 7
    with pytest.raises(ValueError):
        Decoder(encoder.arrays, {}).decode(document)


def test_a_parameter_of_load_is_only_used_under_its_own_name():
    decoder = Decoder({}, {"module": print})
    assert decoder.decode({"map": {"module": {"given": "module"}}}) == {"module": print}
    for document in ({"map": {"func": {"given": "module"}}}, [{"given": "module"}]):
        with pytest.raises(ValueError, match="unknown kind"):
            decoder.decode(document)


# --- Short files that could keep a process busy -----------------------------------------------------------------------


def document_of(estimator):
    return Encoder().encode(estimator)


def with_parameters(document, **parameters):
    """Return the document of an estimator with other (encoded) parameters."""
    document = json.loads(json.dumps(document))
    document["object"]["state"]["map"].update(parameters)
    return document


def nested(levels):
    """Return the document of nested estimators."""
    document, frozen = document_of(StandardScaler()), document_of(FrozenEstimator(1))
    for _ in range(levels - 1):
        document = with_parameters(frozen, estimator=document)
    return document


def refusal(document):
    """Return the error message of the decoder. The time-out of the tests makes sure that it comes soon."""
    with pytest.raises(ValueError) as caught:
        Decoder({}, {}).decode(document)
    return str(caught.value)


def test_encoder_and_decoder_limit_the_nesting_of_estimators():
    estimator = StandardScaler()
    for _ in range(MAX_NESTED - 1):
        estimator = FrozenEstimator(estimator)
    assert type(round_trip(estimator)) is FrozenEstimator
    with pytest.raises(ValueError, match=f"there are more than {MAX_NESTED} levels of nested objects"):
        Encoder().encode(FrozenEstimator(estimator))
    assert f"more than {MAX_NESTED} levels of nested objects" in refusal(nested(MAX_NESTED + 1))


def test_the_message_for_an_invalid_parameter_does_not_contain_a_deeply_nested_estimator():
    scaler = document_of(StandardScaler())
    message = refusal(with_parameters(scaler, copy=nested(MAX_NESTED - 1)))
    assert message.startswith("The 'copy' parameter of StandardScaler must be")
    assert message.endswith("; got a FrozenEstimator")


def test_the_nesting_of_estimators_is_limited_before_a_message_could_contain_them():
    """An error message of pandas contains the refused value."""
    document = {"object": {"class": "pandas.Index", "state": {"map": {"values": nested(30), "name": None}}}}
    assert "levels of nested objects" in refusal(document)


def test_encoder_and_decoder_count_objects_as_often_as_they_occur():
    estimator = StandardScaler()
    for _ in range(MAX_NESTED - 2):
        estimator = make_pipeline(*[estimator] * 4)
    with pytest.raises(ValueError, match=f"there are more than {MAX_OBJECTS} objects in it"):
        Encoder().encode(estimator)
    frozen = document_of(FrozenEstimator(1))
    rest = [with_parameters(frozen, estimator=[{"same": number}] * 4) for number in range(MAX_NESTED - 2)]
    assert f"more than {MAX_OBJECTS} objects in it" in refusal([nested(1), *rest])


@pytest.mark.slow
def test_the_maximum_number_of_objects_can_be_encoded_and_decoded():
    many = [StandardScaler() for _ in range(MAX_OBJECTS)]
    assert len(round_trip(many)) == MAX_OBJECTS
    with pytest.raises(ValueError, match="there are more than"):
        Encoder().encode([*many, StandardScaler()])
