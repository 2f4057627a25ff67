"""Counting rows in the cells of a reference: exactly, in any order, by any number of threads."""

import json
import sys
import threading

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sknn import NeuralClassifier, NeuralRegressor, OnnxPredictor
from sknn.export import to_onnx
from sknn.monitoring import DriftMonitor, member_spread
from tests.common import TINY, printed

TRAIN = pd.DataFrame(
    {
        "size": [0.0] * 40 + list(np.linspace(1, 10, 60)),
        "city": ["Oslo", "Rome", None, "Rome"] * 25,
        "code": [7, 8, 9, 7] * 25,
    }
)
LABELS = np.array(["no", "yes"] * 50)
quick = settings(max_examples=60, deadline=None, derandomize=True)
ROWS = st.lists(
    st.tuples(
        st.floats() | st.sampled_from([0.0, 1.0, 10.0]),
        st.sampled_from(["Oslo", "Rome", "Bern", "", None]),
        st.integers(5, 10),
        st.sampled_from(["no", "yes", "maybe"]),
    ),
    min_size=1,
    max_size=40,
)


def new_monitor():
    return DriftMonitor.from_reference(TRAIN, LABELS)


def update(monitor, rows):
    """Count rows of hypothesis."""
    *columns, predictions = zip(*rows, strict=True)
    return monitor.update(dict(zip(TRAIN, columns, strict=True)), list(predictions))


# --- Cells --------------------------------------------------------------------------------------------------------


def test_rows_are_counted_by_bin_and_level():
    live = {"size": [0.0, -1.0, np.inf, np.nan], "city": ["Rome", "Bern", "", None], "code": [7, 7.0, 100, None]}
    counts = new_monitor().update(live, ["yes", "yes", "no", "maybe"]).counts
    used = {name: {cell: n for cell, n in cells.items() if n} for name, cells in counts.items()}

    assert used == {
        "size": {"-inf..0": 1, "0": 1, "7.1..inf": 1, "missing": 1},
        "city": {"Rome": 1, "missing": 2, "unseen": 1},
        "code": {"7": 2, "9..inf": 1, "missing": 1},
        "prediction": {"yes": 2, "no": 1, "unseen": 1},
    }


def test_the_reference_fills_its_own_cells():
    monitor = new_monitor().update(TRAIN, LABELS)

    for name, counts in monitor.counts.items():
        assert list(counts) == list(monitor.reference_shares[name])
        assert np.array(list(counts.values())) / len(TRAIN) == pytest.approx(
            list(monitor.reference_shares[name].values())
        )
    assert monitor.report().drifted == []


def test_bins_hold_their_lower_edge():
    monitor = DriftMonitor.from_reference({"x": np.arange(80.0)})
    edges = [20.0, 40.0, 60.0]
    assert list(monitor.counts["x"]) == ["-inf..20", "20..40", "40..60", "60..inf", "missing"]

    assert list(monitor.empty().update({"x": edges}).counts["x"].values()) == [0, 1, 1, 1, 0]
    assert list(monitor.empty().update({"x": np.nextafter(edges, 0)}).counts["x"].values()) == [1, 1, 1, 0, 0]


def test_levels_with_the_names_of_other_cells_keep_their_rows():
    train = {"x": ["missing", "other", "unseen", None]}
    counts = DriftMonitor.from_reference(train).update(
        {"x": ["missing", "unseen", "unseen", None, "new", "new", "new"]}
    )

    assert counts.counts["x"] == {"missing_": 1, "other": 0, "unseen_": 2, "missing": 1, "unseen": 3}


def test_a_category_of_many_levels_counts_the_others_together():
    train = {"x": [f"n{i}" for i in range(150)] + ["often"] * 50}
    counts = DriftMonitor.from_reference(train).update({"x": ["often", "n149", "new"]}).counts["x"]

    assert len(counts) == 102
    assert {cell: n for cell, n in counts.items() if n} == {"often": 1, "other": 2}


def test_a_level_is_found_however_a_number_is_written():
    monitor = DriftMonitor.from_reference({"x": ["1", "2", "a"]})

    assert monitor.update({"x": np.array([1, 1.0, True, "1.0"], dtype=object)}).counts["x"]["1"] == 4


@pytest.mark.parametrize(
    "live",
    [
        TRAIN,
        TRAIN[["code", "city", "size"]].assign(id=range(100)),
        TRAIN.convert_dtypes(),
        pl.from_pandas(TRAIN),
        pa.Table.from_pandas(TRAIN),
        {name: TRAIN[name].to_numpy() for name in TRAIN},
        TRAIN.assign(city=TRAIN["city"].fillna("").astype("category"), code=TRAIN["code"].astype(object)),
    ],
    ids=["pandas", "another order", "nullable", "polars", "pyarrow", "arrays", "other types"],
)
def test_tables_of_any_kind_are_counted_alike(live):
    assert new_monitor().update(live).counts == new_monitor().update(TRAIN).counts


def test_an_array_is_counted_by_position():
    X = TRAIN[["size", "code"]].to_numpy()

    assert DriftMonitor.from_reference(X).update(X[:10]).counts["x1"]["7"] == 5


# --- Sums ---------------------------------------------------------------------------------------------------------


@quick
@given(ROWS, st.data())
def test_the_merge_of_parts_is_the_whole(rows, data):
    cut = data.draw(st.integers(0, len(rows)))
    parts = [update(new_monitor(), part) for part in (rows[:cut], rows[cut:]) if part]
    merged = new_monitor()
    for part in parts:
        merged.merge(part)

    assert merged.to_json() == update(new_monitor(), rows).to_json()
    assert merged.n_rows == len(rows)


@quick
@given(ROWS)
def test_json_keeps_everything(rows):
    monitor = update(new_monitor(), rows)
    copy = DriftMonitor.from_json(monitor.to_json())

    assert copy.to_json() == monitor.to_json()
    assert (copy.counts, copy.n_rows, copy.report()) == (monitor.counts, monitor.n_rows, monitor.report())
    assert copy.merge(monitor).n_rows == 2 * len(rows)


def test_merging_a_monitor_with_itself_doubles_it():
    monitor = new_monitor().update(TRAIN, LABELS)

    assert monitor.merge(monitor).n_rows == 200


def test_monitors_of_equal_references_have_their_cells_in_the_same_order():
    """Two tables with the same rows, in which other levels come first."""
    first, second = (DriftMonitor.from_reference({"x": levels}) for levels in (["a", "b"], ["b", "a"]))
    first.update({"x": ["a"]}).merge(second.update({"x": ["a"]}))

    assert first.counts["x"] == {"a": 2, "b": 0, "missing": 0, "unseen": 0}


def test_a_monitor_of_another_reference_is_refused():
    with pytest.raises(ValueError, match=r"^The monitors have different references: column 'size' differs.$"):
        new_monitor().merge(DriftMonitor.from_reference(TRAIN.assign(size=range(100)), LABELS))
    with pytest.raises(ValueError, match="column 'prediction' differs"):
        new_monitor().merge(DriftMonitor.from_reference(TRAIN))


def test_reset_and_empty_forget_rows():
    monitor = new_monitor().update(TRAIN)
    empty = monitor.empty()
    empty.update(TRAIN[:3])
    assert (monitor.n_rows, empty.n_rows) == (100, 3)

    monitor.reset()
    assert (monitor.n_rows, sum(monitor.counts["city"].values()), empty.n_rows) == (0, 0, 3)


def test_a_failed_update_counts_nothing():
    monitor = new_monitor()
    with pytest.raises(ValueError, match="'code'"):
        monitor.update(TRAIN.assign(code="x"))

    assert monitor.to_json() == new_monitor().to_json()


def test_threads_count_exactly():
    monitor, switch = new_monitor(), sys.getswitchinterval()
    start = threading.Barrier(8)

    def count():
        start.wait()
        for _ in range(200):
            monitor.update(TRAIN[:5], LABELS[:5])

    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=count) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch)

    assert monitor.n_rows == 8000
    assert {name: sum(cells.values()) for name, cells in monitor.counts.items()} == dict.fromkeys(monitor.counts, 8000)


def test_the_memory_is_constant():
    """Values that are always new leave nothing behind."""
    monitor = new_monitor()
    sizes = []
    for i in range(3):
        live = TRAIN.assign(city=[f"city {i} {j}" for j in range(100)], size=np.arange(100) + i * 1e6)
        sizes.append(len(json.dumps(monitor.update(live).to_json())) // 100)
        assert sum(counts.nbytes for counts in monitor._counts.values()) == 8 * sum(map(len, monitor.counts.values()))

    assert len(set(sizes)) == 1


# --- Where a reference comes from ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_the_reference_of_a_graph_is_that_of_its_sample(kind, tmp_path):
    estimator, y = (NeuralClassifier, LABELS) if kind == "classifier" else (NeuralRegressor, np.arange(100.0))
    model = estimator(**TINY).fit(TRAIN, y)
    to_onnx(model, TRAIN, path=tmp_path / "model.onnx")
    expected = DriftMonitor.from_estimator(model, TRAIN)
    predictor = OnnxPredictor(tmp_path / "model.onnx")

    for source in (tmp_path / "model.onnx", predictor):
        monitor = DriftMonitor.from_onnx(source)
        assert monitor.reference == expected.reference
    monitor.update(TRAIN, predictor.predict(TRAIN))
    assert sum(monitor.counts["prediction"].values()) == 100
    assert monitor.report().drifted == []


def test_the_tensors_of_a_graph_are_counted_like_the_table():
    """As the service gives them: a missing string is "", and a whole number a float."""
    model = NeuralClassifier(**TINY).fit(TRAIN, LABELS)
    monitor = DriftMonitor.from_onnx(to_onnx(model, TRAIN).SerializeToString())
    tensors = {name: TRAIN[name].to_numpy(dtype=float) for name in ("size", "code")}
    tensors["city"] = TRAIN["city"].fillna("").to_numpy(dtype=object)
    expected = monitor.empty().update(TRAIN).counts

    assert monitor.empty().update(tensors).counts == expected
    assert monitor.empty().update({name: tensor[:, None] for name, tensor in tensors.items()}).counts == expected


def test_a_graph_without_a_table_is_refused():
    model = NeuralClassifier(**TINY).fit(TRAIN, LABELS)
    with pytest.raises(ValueError, match=r"^The model does not describe the rows .*: to_onnx\(model, X_train\).$"):
        DriftMonitor.from_onnx(to_onnx(model).SerializeToString())


def test_a_graph_of_an_older_format_is_refused():
    model = to_onnx(NeuralClassifier(**TINY).fit(TRAIN, LABELS), TRAIN)
    (entry,) = model.metadata_props
    entry.value = json.dumps(json.loads(entry.value) | {"format": 1})
    with pytest.raises(ValueError, match="did not describe bins; export it again"):
        DriftMonitor.from_onnx(model.SerializeToString())


def test_a_graph_whose_description_is_damaged_is_refused():
    model = to_onnx(NeuralClassifier(**TINY).fit(TRAIN, LABELS), TRAIN)
    (entry,) = model.metadata_props
    document = json.loads(entry.value)
    for damage in ({}, {"kind": "other"}, {"kind": "number", "edges": None}):
        document["data"]["columns"] = [{"name": "size"} | damage]
        entry.value = json.dumps(document)
        with pytest.raises(ValueError, match="description of its data is damaged"):
            DriftMonitor.from_onnx(model.SerializeToString())


def test_the_spread_of_members_is_counted():
    members = np.random.default_rng(0).normal(size=(100, 5, 3))
    spread = member_spread(members)
    monitor = DriftMonitor.from_reference(TRAIN, LABELS, spread).update(TRAIN, LABELS, member_spread(members * 3))

    assert spread == pytest.approx(members.std(axis=1).max(axis=1))
    assert monitor.report().drifted == ["spread"]
    assert monitor.report().columns[0].part == "spread"


def test_the_spread_weighs_the_members_as_the_prediction_does():
    members = np.random.default_rng(0).normal(size=(100, 3, 2)).astype(np.float32)
    spread = member_spread(members, [1, 2, 0])

    assert spread.dtype == np.float32
    np.testing.assert_allclose(spread, member_spread(members[:, [0, 1, 1]]), rtol=1e-5)
    np.testing.assert_allclose(member_spread(members[:, :, 0], [2, 2, 2]), member_spread(members[:, :, 0]), rtol=1e-5)


def test_nothing_heavy_is_imported():
    code = (
        "import sys, numpy as np\n"
        "from sknn.monitoring import DriftMonitor\n"
        "monitor = DriftMonitor.from_reference({'a': np.arange(50), 'b': ['x', 'y'] * 25}, np.arange(50.0))\n"
        "print(monitor.update({'a': [1], 'b': ['z']}, [2.0]).report().n_rows)\n"
        "print([name for name in ('torch', 'sklearn', 'scipy', 'pandas', 'onnxruntime') if name in sys.modules])"
    )

    assert printed("-c", code).split("\n")[:2] == ["1", "[]"]


# --- Wrong input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("live", "message"),
    [
        (TRAIN.assign(size="big"), "Column 'size' holds numbers in the reference, and something else now: 'big'."),
        (
            TRAIN.rename(columns={"city": "City"}),
            "^The table lacks columns of the reference: 'city'. Did you mean 'City'",
        ),
        ({**TRAIN.to_dict("list"), "city": [[]] * 100}, "Column 'city' "),
        ({**TRAIN.to_dict("list"), "city": [1]}, "The columns of the table have different lengths: .*'city': 1"),
        (TRAIN.assign(city=pd.Timestamp("2020-01-01")), "Column 'city' has the dtype datetime64.* drop it"),
    ],
    ids=["strings for numbers", "missing", "lists", "short", "dates"],
)
def test_wrong_columns_are_named(live, message):
    with pytest.raises(ValueError, match=message):
        new_monitor().update(live)


def test_columns_that_are_not_compared_may_hold_anything():
    live = TRAIN.assign(day=pd.Timestamp("2020-01-01"), notes=[[i] for i in range(100)])

    assert new_monitor().update(live).n_rows == 100


def test_predictions_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"^predictions have the shape \(2,\); expected \(100,\).$"):
        new_monitor().update(TRAIN, ["yes", "no"])


def test_what_the_reference_does_not_describe_is_ignored():
    monitor = DriftMonitor.from_reference(TRAIN).update(TRAIN.assign(id=0), LABELS, np.zeros(100))

    assert list(monitor.counts) == list(TRAIN)


def test_an_empty_table_and_a_column_without_values():
    monitor = new_monitor().update(TRAIN[:0])
    assert monitor.n_rows == 0

    monitor.update(TRAIN.assign(size=None, city=None))
    assert (monitor.counts["size"]["missing"], monitor.counts["city"]["missing"]) == (100, 100)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "^The text is not JSON"),
        ("[]", "format=None, not 1"),
        ('{"format": 9}', "format=9, not 1"),
    ],
)
def test_other_texts_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        DriftMonitor.from_json(text)


def test_counts_of_other_cells_are_refused():
    document = json.loads(new_monitor().to_json())
    document["counts"]["city"].append(1)
    with pytest.raises(ValueError, match="The counts do not belong to the cells of the reference"):
        DriftMonitor.from_json(json.dumps(document))
