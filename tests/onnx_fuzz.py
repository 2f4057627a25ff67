"""Predict with mutated ONNX graphs: `python -m tests.onnx_fuzz COUNT SEED` prints counts of the results.

This is a separate process, so that a crash of the interpreter is noticed and memory can be limited.
"""

import json
import resource
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pandas as pd

from sknn import NeuralClassifier, NeuralRegressor, OnnxPredictor
from sknn.export import to_onnx

N = 6
TINY = dict(hidden_layer_sizes=(3,), max_iter=1, ensemble_size=2, random_state=0, early_stopping=False)
EXTRA_MEMORY = 2 << 30  # beyond the memory in use after the first predictions
METADATA = [
    *("", "null", "[]", "3", '"text"', "{", "[" * 100_000, '{"classes": 3}', '{"classes": [[1], 2]}'),
    *('{"features": 3}', '{"features": [3]}', '{"features": [{}]}', '{"features": [{"name": 3}]}', '{"named": 3}'),
    *('{"features": []}', '{"features": [{"name": "a"}]}', '{"classes": []}', '{"named": false}'),
]  # fmt: skip
SIZES = [0, 1, 2, 3, 7, -1, 1 << 31, (1 << 63) - 1]


def samples():
    """Yield small graphs, and tables to predict."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 3))
    frame = pd.DataFrame(X[:, :1], columns=["u"]).assign(
        city=["Oslo", "Rome", None] * 10, code=[i % 9 for i in range(30)]
    )
    three = np.array(["p", "q", "r"])[np.arange(30) % 3]
    yield (
        to_onnx(NeuralClassifier(**TINY | {"early_stopping": True}).fit(frame, three), frame, members=True),
        [frame, frame.to_dict("records"), frame.to_numpy()],
    )
    yield to_onnx(NeuralClassifier(**TINY).fit(X, X[:, 0] > 0), X, options={"zipmap": True}), [X, X.tolist()]
    yield to_onnx(NeuralClassifier(**TINY).fit(X, three), X, options={"zipmap": "columns"}), [X]
    yield to_onnx(NeuralRegressor(**TINY, loss="quantile", quantile=(0.2, 0.8)).fit(X, X[:, 0]), X), [X]
    yield (
        to_onnx(NeuralRegressor(**TINY, scaling="quantile").fit(frame, X[:, 0]), frame),
        [frame, frame.to_dict("list")],
    )


# --- Mutations ----------------------------------------------------------------------------------------------------


def mutate_bytes(data, rng):
    data = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(data)))
        match rng.integers(4):
            case 0:
                data[at] ^= 1 << rng.integers(8)
            case 1:
                data[at : at + int(rng.integers(1, 9))] = rng.bytes(int(rng.integers(0, 9)))
            case 2:
                data[at] = int(rng.integers(256))
            case 3:
                length = int(rng.integers(1, 40))
                data[at : at + length] = data[(start := int(rng.integers(len(data)))) : start + length]
    return bytes(data)


def mutate_program(data, rng):
    """Swap, remove, rename or change the nodes, constants, inputs, outputs and metadata."""
    program = onnx.ModelProto.FromString(data)
    for _ in range(int(rng.integers(1, 3))):
        if program.graph.input and program.graph.output and program.graph.node:  # otherwise hardly anything is left
            MUTATIONS[rng.integers(len(MUTATIONS))](program.graph, program, rng)
    return program.SerializeToString()


def choose(values, rng):
    return values[rng.integers(len(values))]


def rename_value(graph, program, rng):
    values = [*graph.input, *graph.output, *graph.initializer]
    choose(values, rng).name = str(rng.choice(["", "x", "label", "variable", *(value.name for value in values)]))


def change_shape(graph, program, rng):
    shape = choose([*graph.input, *graph.output], rng).type.tensor_type.shape
    match rng.integers(3):
        case 0:
            del shape.dim[int(rng.integers(len(shape.dim) + 1)) :]
        case 1:
            shape.dim.add().dim_value = int(rng.choice(SIZES))
        case 2:
            for size in shape.dim:
                size.dim_value = int(rng.choice(SIZES))


def change_type(graph, program, rng):
    choose([*graph.input, *graph.output], rng).type.tensor_type.elem_type = int(rng.integers(20))


def change_outputs(graph, program, rng):
    match rng.integers(3):
        case 0:
            del graph.output[int(rng.integers(len(graph.output))) :]
        case 1:
            graph.output.add().CopyFrom(choose(graph.output, rng))
        case 2:
            graph.output.add().name = choose(graph.node, rng).output[0]


def drop_input(graph, program, rng):
    del graph.input[int(rng.integers(len(graph.input)))]


def change_node(graph, program, rng):
    node = choose(graph.node, rng)
    match rng.integers(4):
        case 0:
            node.op_type = str(
                rng.choice(["Add", "Concat", "Identity", "Size", "Shape", "Reshape", "ReduceSum", "Cast"])
            )
        case 1 if node.input:
            node.input[int(rng.integers(len(node.input)))] = choose(graph.node, rng).output[0]
        case 2 if node.attribute:
            attribute = choose(node.attribute, rng)
            attribute.i = int(rng.choice(SIZES))
        case 3:
            graph.node.remove(node)


def change_constant(graph, program, rng):
    constant = choose(graph.initializer, rng)
    array = onnx.numpy_helper.to_array(constant)
    match rng.integers(3):
        case 0:
            array = np.resize(array, rng.integers(1, 4, size=rng.integers(4)))
        case 1 if array.dtype.kind in "iuf":
            array = array.astype(str(rng.choice(["float32", "float64", "int64"])))
        case 2 if array.dtype.kind in "iu" and array.size:
            array = np.full_like(array, rng.choice([0, -1, 100, 1 << 40]))
    constant.CopyFrom(onnx.numpy_helper.from_array(array, constant.name))


def change_metadata(graph, program, rng):
    program.metadata_props[0].value = str(rng.choice(METADATA))


def change_metadata_entry(graph, program, rng):
    try:
        metadata = json.loads(program.metadata_props[0].value)
        key = str(rng.choice(["classes", "features", "named", "member_weights"]))
        metadata[key] = [None, 3, [], {}, ["a"], [None], "x", [{"name": "u"}], [[1]], metadata["features"] * 2][
            rng.integers(10)
        ]
        program.metadata_props[0].value = json.dumps(metadata)
    except (ValueError, LookupError, TypeError, RecursionError):
        change_metadata(graph, program, rng)  # the metadata are no document any more


MUTATIONS = [
    *(rename_value, change_shape, change_type, change_outputs, drop_input, change_node, change_node, change_constant),
    *(change_metadata, change_metadata_entry),
]  # fmt: skip


# --- Results ---------------------------------------------------------------------------------------------------------


def predict_mutant(data, X, others):
    """Return the result of the construction and of each prediction. Count errors other than ValueError in `others`."""
    stage = "construction"
    try:
        predictor = OnnxPredictor(data)
        stage = "prediction"
        n = len(X) if not isinstance(X, dict) else len(X["u"])
        results = [predictor.predict(X)]
        if hasattr(predictor, "predict_proba"):
            results.append(predictor.predict_proba(X))
    except ValueError as error:
        if type(error) is not ValueError:
            others[f"{stage}: {error!r}"[:300]] += 1
        return f"{stage}: refused"
    except BaseException as error:
        others[f"{stage}: {error!r}"[:300]] += 1
        return f"{stage}: another error"
    if any(len(result) != n for result in results):
        others[f"{[result.shape for result in results]} for {n} rows"] += 1
    return "predicted"


def main(count, seed):
    warnings.simplefilter("ignore")
    rng, found = np.random.default_rng(seed), [(p.SerializeToString(), tables) for p, tables in samples()]
    results, others = Counter(), Counter()
    for data, tables in found:
        assert {predict_mutant(data, X, others) for X in tables} == {"predicted"}
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + EXTRA_MEMORY,) * 2)
    for i in range(count):
        data, tables = found[i % len(found)]
        level, mutate = [("bytes", mutate_bytes), ("program", mutate_program)][int(rng.random() < 0.5)]
        X = tables[rng.integers(len(tables))]
        results[f"{level}: {predict_mutant(mutate(data, rng), X, others)}"] += 1
    print(json.dumps({"results": results, "others": others}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
