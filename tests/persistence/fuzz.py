"""Load mutated files one after another: `python -m tests.persistence.fuzz COUNT SEED` prints the results.

It runs in a separate process, so that a crash of the interpreter is seen, memory can be limited, and an audit hook can
watch for events that run code.
"""

import contextlib
import copy
import json
import re
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, SplineTransformer, StandardScaler
from torch import nn

import sknn
from sknn import NeuralClassifier, NeuralRegressor
from sknn.persistence import InvalidFileError
from sknn.persistence.classes import CLASSES, FUNCTIONS, TYPES
from sknn.persistence.codec import DECODERS
from sknn.persistence.container import pack, unpack
from tests.common import TINY

N = 30
RUNS_CODE = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "exec",
    "compile",
    "socket.connect",
)
MORE_MEMORY = 1 << 30  # than the process has after its first loads
HOSTILE = [
    *(None, True, -1, 0, 1, 2, 7, 1 << 31, 1 << 63, -(1 << 63), 10**30, 0.5, -1e308, 1e308, "", "x", "0" * 1000),
    *("os.system", "builtins.eval", "subprocess.Popen", "pickle.loads", "../../etc/passwd", "__reduce__", "nan"),
    *([], [[]], [0], {}, {"map": {}}, {"tuple": []}, {"float": "nan"}, {"float": "inf"}, {"same": 0}, {"same": 99}),
    *({"type": "numpy.float32"}, {"function": "numpy.exp"}, {"scalar": ["int64", 1 << 62]}, {"given": "module"}),
    *({"type": "torch.optim.SGD"}, {"function": "os.system"}, {"object": {"class": "os.system", "state": {"map": {}}}}),
    *({"object": {"class": "builtins.slice", "state": [0, 1 << 62, 1]}}, {"dtype": "<U999999999"}, {"dtype": "|O"}),
    *({"dtype": "<U1000000"}, "<U1000000"),
]  # fmt: skip
NAMES = ["__class__", "__dict__", "__reduce__", "predict", "_validate_params", "_parameter_constraints", "classes_", ""]
LISTED = [f"{module}.{name}" for t in (CLASSES, TYPES, FUNCTIONS) for module, names in t.items() for name in names]


class Net(nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(in_features, 2), nn.BatchNorm1d(2), nn.Linear(2, out_features))

    def forward(self, x):
        return self.layers(x)


def samples():
    """Yield small models as (bytes of the file, rows to predict, parameters of `load`); the last is a pipeline."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 2))
    frame = pd.DataFrame(X, columns=["u", "v"]).assign(
        city=["Oslo", "Rome", None] * 10, code=[f"c{i % 9}" for i in range(N)]
    )
    text = frame.assign(text=["good fun", "bad film", "so so"] * 10)
    mixed = frame.astype(object).to_numpy()
    sparse = sp.csr_array(np.where(X > 0, X, 0))
    y = X[:, 0] + X[:, 1] ** 2
    labels, three = np.where(y > y.mean(), "up", "down"), np.digitize(y, [0, 1])
    steps = [
        ("numbers", make_pipeline(SimpleImputer(), StandardScaler(), SplineTransformer(3)), ["u"]),
        (
            "bins",
            KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf", random_state=np.random.RandomState(0)),
            ["v"],
        ),
        ("city", OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=11), ["city"]),
        ("code", OneHotEncoder(drop="first", sparse_output=False), ["code"]),
        ("text", TfidfVectorizer(), "text"),
    ]
    models = [
        (NeuralClassifier(**TINY, numeric_embedding="periodic").fit(frame, labels), frame, {}),
        (NeuralRegressor(**TINY, solver="sgd", loss="quantile", quantile=(0.2, 0.8)).partial_fit(X, y), X, {}),
        (NeuralRegressor(**TINY, module=Net).fit(frame, y), frame, {"module": Net}),
        (NeuralClassifier(**TINY | {"ensemble_size": 2}, batch_norm=True).fit(mixed, (X > 0).astype(int)), mixed, {}),
        (NeuralClassifier(**TINY, scaling="quantile", class_weight="balanced").fit(X, three), X, {}),
        (NeuralRegressor(**TINY, numeric_embedding="piecewise_linear", precision="float64").fit(X, X), X, {}),
        (NeuralRegressor(**TINY, loss="poisson", scaling="standard").fit(sparse, np.abs(y)), sparse, {}),
        (make_pipeline(ColumnTransformer(steps), NeuralClassifier(**TINY, scaling=None)).fit(text, labels), text, {}),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for model, rows, params in models:
            sknn.save(model, Path(folder, "model.sknn"))
            document, arrays = unpack(Path(folder, "model.sknn").read_bytes())
            reproducible = re.sub(r'"(dur|_stop_words_id)": [\d.e-]+', r'"\1": 1', document)  # seconds, an address
            yield pack(reproducible, arrays), rows, params


# --- Mutations ----------------------------------------------------------------------------------------------------


def locations(tree):
    """Return (container, key) of every value in a JSON tree."""
    found, containers = [], [tree]
    for container in containers:
        items = list(container.items() if isinstance(container, dict) else enumerate(container))
        found += [(container, key) for key, _ in items]
        containers += [value for _, value in items if isinstance(value, dict | list)]
    return found


def mutate_bytes(data, rng):
    data = bytearray(data)
    index = int(rng.integers(len(data) if rng.random() < 0.5 else min(len(data), 400)))
    match rng.integers(5):
        case 0:
            data[index] ^= 1 << rng.integers(8)
        case 1:
            data[index : index + int(rng.integers(1, 9))] = rng.bytes(int(rng.integers(0, 9)))
        case 2:
            del data[index:]
        case 3:
            data[:8] = int(rng.choice([0, 1, len(data), 1 << 20, (1 << 63) - 1])).to_bytes(8, "little")
        case 4:
            data[index:index] = data[: int(rng.integers(1, 200))]
    return bytes(data)


def mutate_header(data, rng):
    """Change types, shapes and offsets of tensors in the container's header, or duplicate a key."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    name = str(rng.choice([name for name in header if name != "__metadata__"]))
    entry = header[name]
    match rng.integers(5):
        case 0:
            entry["dtype"] = str(rng.choice(["F64", "F32", "U8", "BOOL", "BF16", "C64", "F4", "os.system"]))
        case 1:
            entry["shape"] = [int(n) for n in rng.choice([0, 1, 2, 1 << 31, (1 << 63) - 1], size=rng.integers(4))]
        case 2:
            entry["data_offsets"] = [int(n) for n in rng.choice([0, 1, 8, 1 << 20, (1 << 63) - 1], size=2)]
        case 3:
            header[str(rng.choice([*header, "../x", "__metadata__"]))] = header.pop(name)
        case 4:
            header["__metadata__"] = rng.choice([{}, {"sknn": ""}, {"sknn": "[" * 100_000}, {"sknn": "{}"}, {"x": "y"}])
    text = json.dumps(header)
    if rng.random() < 0.1:
        text = text[:-1] + ', "sha256": ' + json.dumps(header.get("sha256")) + "}"
    return len(text.encode()).to_bytes(8, "little") + text.encode() + data[8 + size :]


def mutate_document(document, arrays, rng):
    """Copy, replace, remove or rename values; the digest is computed afterwards."""
    for _ in range(int(rng.integers(1, 4))):
        spots = locations(document)
        numeric = [(t, k) for t, k in spots if isinstance(t[k], int | float)]
        named = [(t, k) for t, k in spots if k in ("class", "function", "type", "tensor")]
        if not numeric or not named:
            return  # little is left to mutate
        tree, key = spots[rng.integers(len(spots))]
        match rng.integers(8):
            case 0 | 1:
                tree[key] = copy.deepcopy(HOSTILE[rng.integers(len(HOSTILE))])
            case 2:
                other, other_key = spots[rng.integers(len(spots))]
                tree[key] = copy.deepcopy(other[other_key])
            case 3:
                del tree[key]
            case 4 if isinstance(tree, dict):
                tree[str(rng.choice([*NAMES, *DECODERS, key]))] = tree.pop(key)
            case 5:
                tree, key = numeric[rng.integers(len(numeric))]
                tree[key] = [-1, 0, 1, 3, 10**6, 1 << 40, 1 << 70, 0.1][rng.integers(8)]
            case 6:
                tree, key = named[rng.integers(len(named))]
                tree[key] = str(rng.choice([*LISTED, *arrays, "os.system", "builtins.exec", "sknn.load"]))
            case 7:
                tree[key] = [tree[key]] if rng.random() < 0.9 else nested(tree[key], 100)


def nested(value, depth):
    for _ in range(depth):
        value = {"tuple": [value]}
    return value


def mutate_arrays(arrays, rng):
    for _ in range(int(rng.integers(1, 3))):
        name = str(rng.choice(list(arrays)))
        array = arrays[name].copy()
        match rng.integers(7):
            case 0:
                array = array.T.copy() if array.ndim != 1 else array[::-1].copy()
            case 1:
                array = array.reshape(-1) if rng.random() < 0.5 else array[None]
            case 2:
                array = array.astype(str(rng.choice(["float32", "float64", "int64", "uint8", "bool", "int8"])))
            case 3 if array.size and array.dtype.kind in "iuf":
                extreme = [np.nan, np.inf, 1e300] if array.dtype.kind == "f" else [0, -1, 100, 1 << 62, 1 << 20]
                array.ravel()[rng.integers(array.size)] = np.array(rng.choice(extreme)).astype(array.dtype)
            case 4:
                array = array[:-1] if array.ndim and len(array) else np.zeros((3, 0), array.dtype)
            case 5:
                array = arrays[str(rng.choice(list(arrays)))]
            case 6:
                array = np.resize(array, rng.integers(1, 5, size=rng.integers(4)))
        arrays[name] = array


def mutant(data, content, rng):
    kind = rng.random()
    with np.errstate(all="ignore"):
        if kind < 0.4:
            mutated = mutate_bytes(data, rng)
            return "bytes", mutated if mutated != data else data[:-1]
        if kind < 0.5:
            return "header", mutate_header(data, rng)
        document, arrays = json.loads(content[0]), dict(content[1])
        if kind < 0.84:
            with contextlib.suppress(RecursionError):  # from copying a deeply nested value
                mutate_document(document, arrays, rng)
            return "document", pack(json.dumps(document), arrays)
        mutate_arrays(arrays, rng)
        return "arrays", pack(json.dumps(document), arrays)


# --- Results ------------------------------------------------------------------------------------------------------


class CodeAudit:
    """Counts events that run code while it is active. An audit hook can't be removed."""

    def __init__(self):
        self.is_active, self.events = False, Counter()
        sys.addaudithook(self.audit)

    def audit(self, event, args):
        parses_only = (
            event == "compile" and args[1] == "<unknown>"
        )  # numpy calls ast.literal_eval for the string of a dtype
        if self.is_active and event.startswith(RUNS_CODE) and not parses_only:
            self.events[f"{event} {args}"[:300]] += 1


def main(count, seed):
    warnings.simplefilter("ignore")
    rng, models = np.random.default_rng(seed), list(samples())
    contents = [
        (document, dict(sorted(arrays.items()))) for document, arrays in (unpack(data) for data, _, _ in models)
    ]
    in_memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    path = Path(tempfile.mkdtemp(dir=in_memory), "model.sknn")
    for data, rows, params in models:
        path.write_bytes(data)
        model = sknn.load(path, **params)
        model.predict(rows)
        repr(model)  # the first call imports modules
    for name in [f"{module}.{name}" for module, names in CLASSES.items() for name in names]:
        sknn.persistence.classes.class_by_name(name)  # the first call imports its module
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MORE_MEMORY,) * 2)
    resident, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    audit, results, others, failures = CodeAudit(), Counter(), Counter(), Counter()
    for i in range(count):
        which = i % len(models)
        data, rows, params = models[which]
        kind, mutated = mutant(data, contents[which], rng)
        path.write_bytes(mutated)
        audit.is_active = True
        outcome = try_file(path, rows, params, others, failures)
        audit.is_active = False
        results[f"{'network' if which < len(models) - 1 else 'pipeline'}: {kind}: {outcome}"] += 1
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident) >> 10
    report = {"results": results, "others": others, "failures": failures, "events": audit.events, "grown_mb": grown}
    print(json.dumps(report | {"seconds": time.process_time() - started}))


def try_file(path, rows, params, others, failures):
    """Return the outcome for a file; count wrong errors in `others` and wrong predictions in `failures`."""
    try:
        model = sknn.load(path, **params)
    except InvalidFileError as error:
        if isinstance(error.__cause__, MemoryError):
            others[f"memory: {error}"[-300:]] += 1
        return "refused"
    except BaseException as error:
        others[repr(error)[:300]] += 1
        return "another error"
    try:
        results = predictions(model, rows)
    except Exception as error:
        if isinstance(error, ValueError) and not isinstance(error, NotFittedError):
            return "loaded, refuses the rows"  # which lack the columns of the file
        failures[f"{type(model).__name__}: {error!r}"[:300]] += 1
        return "loaded, does not predict"
    if all(result.shape[:1] == (N,) and are_finite(result) for result in results):
        return "loaded, predicts"
    failures[f"{type(model).__name__}: {[(result.shape, result.ravel()[:3]) for result in results]}"[:300]] += 1
    return "loaded, does not predict"


def predictions(model, rows):
    return [np.asarray(getattr(model, name)(rows)) for name in ("predict", "predict_proba") if hasattr(model, name)]


def are_finite(result):
    return result.dtype.kind != "f" or bool(np.isfinite(result).all())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
