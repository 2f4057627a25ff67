"""Export a network for a raw table as one ONNX graph, check it, and run it without torch or scikit-learn.

This needs the extra `onnx`: pip install 'sknn[onnx]'.
"""

import json
import timeit

import numpy as np
import onnxruntime
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

from sknn import NeuralRegressor
from sknn.export import to_onnx


def table():
    """Return the diabetes data with the sex as a string, missing blood values, and a column of clinics."""
    rng = np.random.default_rng(0)
    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    X["sex"] = X["sex"].map({1.0: "female", 2.0: "male"})
    X["clinic"] = rng.choice([f"clinic {i}" for i in range(12)], len(X), p=np.arange(1, 13) / 78)
    X["s1"] = X["s1"].mask(rng.random(len(X)) < 0.2)
    return X, y


def tensors(rows):
    """Return the graph's inputs: an array (n, 1) per column, of the column's type; a missing string is ''."""
    return {
        name: column.fillna("").to_numpy(dtype=object)[:, None]
        if name in ("sex", "clinic")
        else column.to_numpy()[:, None]
        for name, column in rows.items()
    }


def main():
    X, y = table()
    X_train, X_new, y_train, _ = train_test_split(X, y, random_state=0)
    reg = NeuralRegressor(
        hidden_layer_sizes=(64, 32), loss="quantile", quantile=(0.1, 0.5, 0.9), ensemble_size=4, random_state=0
    ).fit(X_train, y_train)
    program = to_onnx(reg, X_train, path="diabetes.onnx")  # the metadata summarises the training table
    print(f"diabetes.onnx: {len(program.graph.node)} nodes, {program.ByteSize() / 1e3:.0f} kB\n")

    # From here on, only ONNX Runtime is needed.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession("diabetes.onnx", options, providers=["CPUExecutionProvider"])
    print("Inputs:", ", ".join(f"{i.name} ({i.type[7:-1]})" for i in session.get_inputs()))
    X_new.loc[X_new.index[0], ["s1", "clinic"]] = np.nan, "an unseen clinic"
    (values,) = session.run(None, tensors(X_new))
    print("10 %, 50 % and 90 % quantiles of the first new rows:")
    print(values[:3].round(1))
    print(f"Largest difference from predict: {np.abs(values - reg.predict(X_new)).max():.1e}")
    one = tensors(X_new[:1])
    seconds = min(timeit.repeat(lambda: session.run(None, one), number=200, repeat=5)) / 200
    print(f"One row: {seconds * 1e6:.0f} us\n")

    metadata = json.loads(session.get_modelmeta().custom_metadata_map["sknn"])
    print(f"Metadata: sknn {metadata['sknn_version']}, {metadata['task']}, {metadata['data']['n_rows']} training rows:")
    for column in metadata["data"]["columns"]:
        if column["kind"] == "number":
            print(
                f"  {column['name']:7s} {column['mean']:7.1f} +- {column['std']:5.1f}, {column['missing']:4.0%} missing"
            )
        else:
            level, share = next(iter(column["levels"].items()))
            print(f"  {column['name']:7s} {column['n_levels']} levels, most frequent {level!r} ({share:.0%})")
    return values, reg.predict(X_new)


if __name__ == "__main__":
    main()
