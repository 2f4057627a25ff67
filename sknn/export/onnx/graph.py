"""Write the nodes of an ONNX graph. Values are identified by name; numpy arrays become constants."""

from typing import Any

import numpy as np

ML = "ai.onnx.ml"
ML_VERSION = 2  # every runtime has its LabelEncoder


class Graph:
    """An ONNX graph under construction: `graph("Relu", x)` adds a node and returns the name of its output.

    A node or constant that the graph already has is not added again.

    Parameters
    ----------
    scope, container
        skl2onnx's objects: `scope` makes unique names, `container` collects nodes and constants.
    dtype : numpy dtype
        The dtype of the network's arithmetic, float32 or float64.

    Attributes
    ----------
    opset : int
    """

    def __init__(self, scope: Any, container: Any, dtype: Any) -> None:
        self.scope, self.container, self.dtype = scope, container, np.dtype(dtype)
        self.opset: int = container.target_opset
        self._written: dict[Any, str] = {}  # the names of constants and of the outputs of nodes

    def __call__(self, op: str, *inputs: Any, output: str | None = None, domain: str = "", **attributes: Any) -> str:
        """Add a node. Its inputs are names of values, arrays, or numbers and lists, which become arrays."""
        names = [value if isinstance(value, str) else self.constant(np.asarray(value)) for value in inputs]
        node = (op, domain, *names, repr(attributes))
        if output is None and node in self._written:
            return self._written[node]
        name = output or self.scope.get_unique_variable_name(op.lower())
        self._written[node] = name
        version = ML_VERSION if domain == ML else None
        self.container.add_node(
            op, names, name, op_domain=domain, op_version=version,
            name=self.scope.get_unique_operator_name(op), **attributes,
        )  # fmt: skip
        return name

    def constant(self, array: np.ndarray) -> str:
        from onnx import TensorProto, helper, numpy_helper

        content = (array.dtype.str, array.shape, array.tobytes())
        if content in self._written:
            return self._written[content]
        name = self._written[content] = self.scope.get_unique_variable_name("constant")
        if array.dtype.kind in "US":
            self.container.add_initializer(name, TensorProto.STRING, array.shape, [str(s).encode() for s in array.flat])
        else:
            tensor_type = helper.np_dtype_to_tensor_dtype(array.dtype)
            self.container.add_initializer(
                name, tensor_type, array.shape, numpy_helper.from_array(np.ascontiguousarray(array))
            )
        return name

    def array(self, values: Any) -> np.ndarray:
        """Return an array of the network's dtype."""
        return np.asarray(values, dtype=self.dtype)

    def cast(self, value: str, dtype: Any, output: str | None = None) -> str:
        from onnx import helper

        return self("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), output=output)

    def concat(self, values: list[str], axis: int = -1) -> str:
        return values[0] if len(values) == 1 else self("Concat", *values, axis=axis)

    def mean(self, value: str, axis: int) -> str:
        """Add the mean over an axis, which is removed."""
        if self.opset < 18:
            return self("ReduceMean", value, axes=[axis], keepdims=0)
        return self("ReduceMean", value, np.array([axis]), keepdims=0)

    def weighted_mean(self, value: str, weights: np.ndarray) -> str:
        """Add the weighted mean over the first axis of a value of three axes; the axis is removed."""
        shares = self.array(weights / weights.sum())[:, None, None]
        return self("ReduceSum", self("Mul", value, shares), np.array([0]), keepdims=0)

    def sorted(self, value: str, k: int) -> str:
        """Add the sorting of the last axis, of length k, in increasing order."""
        values, indices = (self.scope.get_unique_variable_name(name) for name in ("sorted", "order"))
        node = self.scope.get_unique_operator_name("TopK")
        self.container.add_node("TopK", [value, self.constant(np.array([k]))], [values, indices], name=node, largest=0)
        return values

    def rename(self, value: str, output: str) -> None:
        """Rename a value to the name of an output."""
        self._written.clear()  # it has the old name
        for node in self.container.nodes:
            for names in (node.input, node.output):
                names[:] = [output if name == value else name for name in names]
