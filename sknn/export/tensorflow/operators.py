"""ONNX's operators as functions of TensorFlow.

Each function takes the module `tensorflow`, the node's inputs (None for one that is omitted) and, as keywords, its
attributes with ONNX's defaults (https://onnx.ai/onnx/operators). It returns the node's output, or a tuple of outputs.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

TENSOR_TYPES = {1: "float32", 6: "int32", 7: "int64", 8: "string", 9: "bool", 11: "float64"}


def tf_function(path: str) -> Callable:
    """Return a function of TensorFlow that does what the operator does, by its name."""

    def call(tf: Any, *inputs: Any) -> Any:
        function = tf
        for name in path.split("."):
            function = getattr(function, name)
        return function(*inputs)

    return call


def reduction(path: str) -> Callable:
    """Return a reduction over axes, which are an attribute in older opsets and an input in newer ones."""
    function = tf_function(path)

    def call(
        tf: Any, x: Any, axes_input: Any = None, axes: Any = None, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Any:
        axes = axes if axes_input is None else _static(tf, axes_input).tolist()
        if axes is None and noop_with_empty_axes:
            return x
        return function(tf, x, axes, bool(keepdims))

    return call


def variadic(path: str) -> Callable:
    """Return a function of two inputs, extended to any number of inputs."""
    function = tf_function(path)

    def call(tf: Any, first: Any, *others: Any) -> Any:
        for other in others:
            first = function(tf, first, other)
        return first

    return call


def _static(tf: Any, value: Any) -> np.ndarray:
    """Return the value of a constant."""
    constant = tf.get_static_value(value)
    if constant is None:
        raise ValueError("axes and sizes have to be constants")
    return np.asarray(constant)


# --- Elementwise --------------------------------------------------------------------------------------------------


def clip(tf: Any, x: Any, low: Any = None, high: Any = None) -> Any:
    x = x if low is None else tf.maximum(x, low)
    return x if high is None else tf.minimum(x, high)


def cast(tf: Any, x: Any, to: int = 1, saturate: int = 1) -> Any:
    dtype = tf.as_dtype(TENSOR_TYPES[to])
    if dtype == tf.string:
        return tf.strings.as_string(x)
    return tf.strings.to_number(x, dtype) if x.dtype == tf.string else tf.cast(x, dtype)


def elu(tf: Any, x: Any, alpha: float = 1.0) -> Any:
    return tf.where(x > 0, x, tf.cast(alpha, x.dtype) * tf.math.expm1(tf.minimum(x, 0)))


def leaky_relu(tf: Any, x: Any, alpha: float = 0.01) -> Any:
    return tf.where(x > 0, x, tf.cast(alpha, x.dtype) * x)


def selu(tf: Any, x: Any, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875) -> Any:
    return tf.cast(gamma, x.dtype) * elu(tf, x, alpha)


def divide(tf: Any, a: Any, b: Any) -> Any:
    return tf.math.divide(a, b) if a.dtype.is_floating else tf.truncatediv(a, b)


# --- Products and reductions --------------------------------------------------------------------------------------


def gemm(
    tf: Any, a: Any, b: Any, c: Any = None, alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0
) -> Any:
    product = tf.linalg.matmul(a, b, transpose_a=bool(transA), transpose_b=bool(transB))
    product = product if alpha == 1 else tf.cast(alpha, a.dtype) * product
    return product if c is None else product + (c if beta == 1 else tf.cast(beta, a.dtype) * c)


def matmul(tf: Any, a: Any, b: Any) -> Any:
    """Multiply as in numpy: a vector is a row on the left and a column on the right."""
    wide = a if a.shape.rank > 1 else a[None, :]
    product = tf.linalg.matmul(wide, b if b.shape.rank > 1 else b[:, None])
    product = product if b.shape.rank > 1 else product[..., 0]
    return product if a.shape.rank > 1 else tf.squeeze(product, -1 if b.shape.rank == 1 else -2)


def softmax(tf: Any, x: Any, axis: int = -1) -> Any:
    return tf.nn.softmax(x, axis)


def argmax(tf: Any, x: Any, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Any:
    index = tf.argmax(x, axis, output_type=tf.int64)
    return tf.expand_dims(index, axis) if keepdims else index


def top_k(tf: Any, x: Any, k: Any, axis: int = -1, largest: int = 1, sorted: int = 1) -> tuple:
    direction = "DESCENDING" if largest else "ASCENDING"
    n = int(_static(tf, k).item())
    order = tf.argsort(x, axis, direction, stable=True)
    order = tf.gather(order, tf.range(n), axis=axis)
    values = tf.sort(x, axis, direction)
    return tf.gather(values, tf.range(n), axis=axis), tf.cast(order, tf.int64)


# --- Shapes and indices -------------------------------------------------------------------------------------------


def concat(tf: Any, *parts: Any, axis: int = 0) -> Any:
    return tf.concat(parts, axis)


def gather(tf: Any, x: Any, indices: Any, axis: int = 0) -> Any:
    size = tf.shape(x, out_type=indices.dtype)[axis]
    return tf.gather(x, tf.where(indices < 0, indices + size, indices), axis=axis)


def transpose(tf: Any, x: Any, perm: Any = None) -> Any:
    return tf.transpose(x, perm)


def reshape(tf: Any, x: Any, shape: Any, allowzero: int = 0) -> Any:
    new_sizes, sizes = _static(tf, shape).tolist(), tf.shape(x)
    return tf.reshape(x, [sizes[i] if size == 0 and not allowzero else size for i, size in enumerate(new_sizes)])


def flatten(tf: Any, x: Any, axis: int = 1) -> Any:
    sizes = tf.shape(x)
    return tf.reshape(x, [tf.reduce_prod(sizes[:axis]), tf.reduce_prod(sizes[axis:])])


def unsqueeze(tf: Any, x: Any, axes_input: Any = None, axes: Any = None) -> Any:
    axes = axes if axes_input is None else _static(tf, axes_input).tolist()
    rank = len(x.shape) + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = tf.expand_dims(x, axis)
    return x


def squeeze(tf: Any, x: Any, axes_input: Any = None, axes: Any = None) -> Any:
    return tf.squeeze(x, axes if axes_input is None else _static(tf, axes_input).tolist())


def expand(tf: Any, x: Any, shape: Any) -> Any:
    return tf.broadcast_to(x, tf.broadcast_dynamic_shape(tf.shape(x, out_type=shape.dtype), shape))


def shape(tf: Any, x: Any) -> Any:
    return tf.shape(x, out_type=tf.int64)


# --- scikit-learn's steps (the domain ai.onnx.ml) -----------------------------------------------------------------


def label_encoder(tf: Any, x: Any, **options: Any) -> Any:
    keys = next(value for name, value in options.items() if name.startswith("keys_"))
    key, values = next((name, value) for name, value in options.items() if name.startswith("values_"))
    empty = {"values_strings": "_Unused", "values_int64s": -1, "values_floats": -0.0}[key]
    default = options.get("default_" + key.removeprefix("values_").rstrip("s"), empty)
    dtype = {"values_strings": tf.string, "values_int64s": tf.int64, "values_floats": tf.float32}[key]
    found = tf.equal(x[..., None], tf.constant(keys, x.dtype))
    index = tf.argmax(tf.cast(found, tf.int32), -1)
    return tf.where(tf.reduce_any(found, -1), tf.gather(tf.constant(values, dtype), index), tf.constant(default, dtype))


def one_hot_encoder(tf: Any, x: Any, cats_int64s: Any = None, cats_strings: Any = None, zeros: int = 1) -> Any:
    categories = tf.constant(cats_strings) if cats_int64s is None else tf.constant(cats_int64s, tf.int64)
    x = x if cats_int64s is None else tf.cast(x, tf.int64)
    return tf.cast(tf.equal(x[..., None], categories), tf.float32)


def scaler(tf: Any, x: Any, offset: Any = (0.0,), scale: Any = (1.0,)) -> Any:
    return (tf.cast(x, tf.float32) - tf.constant(offset, tf.float32)) * tf.constant(scale, tf.float32)


def imputer(tf: Any, x: Any, **options: Any) -> Any:
    suffix = "floats" if "imputed_value_floats" in options else "int64s"
    missing = options["replaced_value_" + suffix.rstrip("s")]
    is_missing = tf.math.is_nan(x) if missing != missing else tf.equal(x, tf.constant(missing, x.dtype))
    return tf.where(is_missing, tf.constant(options["imputed_value_" + suffix], x.dtype), x)


def normalizer(tf: Any, x: Any, norm: str = "MAX") -> Any:
    x = tf.cast(x, tf.float32)
    size = {
        "MAX": lambda: tf.reduce_max(tf.abs(x), 1, keepdims=True),
        "L1": lambda: tf.reduce_sum(tf.abs(x), 1, keepdims=True),
        "L2": lambda: tf.sqrt(tf.reduce_sum(x * x, 1, keepdims=True)),
    }[norm]()
    return tf.math.divide_no_nan(x, size)


def binarizer(tf: Any, x: Any, threshold: float = 0.0) -> Any:
    return tf.cast(x > threshold, x.dtype)


def array_feature_extractor(tf: Any, x: Any, indices: Any) -> Any:
    return tf.gather(x, tf.reshape(indices, [-1]), axis=-1)


FUNCTIONS: dict[str, Callable] = {
    "Abs": tf_function("abs"),
    "Add": tf_function("add"),
    "And": tf_function("logical_and"),
    "ArgMax": argmax,
    "ArrayFeatureExtractor": array_feature_extractor,
    "Binarizer": binarizer,
    "Cast": cast,
    "Ceil": tf_function("math.ceil"),
    "Clip": clip,
    "Concat": concat,
    "Cos": tf_function("cos"),
    "Div": divide,
    "Elu": elu,
    "Equal": tf_function("equal"),
    "Erf": tf_function("math.erf"),
    "Exp": tf_function("exp"),
    "Expand": expand,
    "Flatten": flatten,
    "Floor": tf_function("floor"),
    "Gather": gather,
    "Gemm": gemm,
    "Greater": tf_function("greater"),
    "GreaterOrEqual": tf_function("greater_equal"),
    "Identity": tf_function("identity"),
    "Imputer": imputer,
    "IsNaN": tf_function("math.is_nan"),
    "LabelEncoder": label_encoder,
    "LeakyRelu": leaky_relu,
    "Less": tf_function("less"),
    "LessOrEqual": tf_function("less_equal"),
    "Log": tf_function("math.log"),
    "MatMul": matmul,
    "Max": variadic("maximum"),
    "Min": variadic("minimum"),
    "Mul": tf_function("multiply"),
    "Neg": tf_function("negative"),
    "Normalizer": normalizer,
    "Not": tf_function("logical_not"),
    "OneHotEncoder": one_hot_encoder,
    "Or": tf_function("logical_or"),
    "Pow": tf_function("pow"),
    "ReduceL2": reduction("math.reduce_euclidean_norm"),
    "ReduceMax": reduction("reduce_max"),
    "ReduceMean": reduction("reduce_mean"),
    "ReduceMin": reduction("reduce_min"),
    "ReduceSum": reduction("reduce_sum"),
    "Relu": tf_function("nn.relu"),
    "Reshape": reshape,
    "Scaler": scaler,
    "Selu": selu,
    "Shape": shape,
    "Sigmoid": tf_function("sigmoid"),
    "Sign": tf_function("sign"),
    "Sin": tf_function("sin"),
    "Softmax": softmax,
    "Softplus": tf_function("nn.softplus"),
    "Sqrt": tf_function("sqrt"),
    "Squeeze": squeeze,
    "Sub": tf_function("subtract"),
    "Tanh": tf_function("tanh"),
    "TopK": top_k,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
    "Where": tf_function("where"),
}
