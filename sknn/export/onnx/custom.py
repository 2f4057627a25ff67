"""A custom module in an ONNX graph: the graph that torch's exporter makes is inserted."""

import contextlib
import io
import logging
import warnings
from typing import Any

import torch

from sknn.export.onnx.graph import Graph
from sknn.network.custom import CustomNetwork

OLDEST_OPSET = 18  # of torch's exporter


def custom_outputs(graph: Graph, network: CustomNetwork, x: str, shape: tuple[int, ...]) -> str:
    """Write the outputs ((members,) n, K) for rows of this shape."""
    from onnx.compose import add_prefix_graph

    program = _export(network, shape, graph.opset)
    if program.functions or any(node.domain for node in program.graph.node):
        raise ValueError(
            "The custom module's ONNX graph uses operators of torch that ONNX Runtime does not have: "
            f"{sorted({n.domain + '.' + n.op_type for n in program.graph.node if n.domain})}."
        )
    prefix = graph.scope.get_unique_variable_name("module") + "_"
    inner = add_prefix_graph(program.graph, prefix)
    graph("Identity", x, output=inner.input[0].name)
    graph.container.initializers.extend(inner.initializer)
    graph.container.nodes.extend(inner.node)
    graph.container.node_domain_version_pair_sets.add(("", graph.opset))
    return inner.output[0].name


def _export(network: CustomNetwork, shape: tuple[int, ...], opset: int) -> Any:
    if opset < OLDEST_OPSET:
        raise ValueError(
            f"target_opset={opset}: torch writes a custom module in opset {OLDEST_OPSET} or later; use that."
        )
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Exporting a custom module needs onnxscript; install it with: pip install 'sknn[onnx]'"
        ) from error
    rows = torch.zeros(2, *shape, dtype=network.dtype)
    batch = {0: torch.export.Dim("n")}
    with _without_messages():
        program = torch.onnx.export(
            _Members(network).cpu().eval(), (rows,), dynamo=True, opset_version=opset, dynamic_shapes=(batch,),
            verbose=False,
        )  # fmt: skip
    model: Any = program.model_proto  # type: ignore[union-attr]
    opset_written = next(entry.version for entry in model.opset_import if not entry.domain)
    if opset_written != opset:
        raise ValueError(
            f"target_opset={opset}: torch could write the custom module in opset {opset_written} only; use that one."
        )
    return model


class _Members(torch.nn.Module):
    """All members of a network. A single member has no members axis."""

    def __init__(self, network: CustomNetwork) -> None:
        super().__init__()
        modules, *_ = network.__reduce__()[1]  # copies that own their memory
        self.members = torch.nn.ModuleList(modules)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        outputs = [member(rows) for member in self.members]
        return outputs[0] if len(outputs) == 1 else torch.stack(outputs)


@contextlib.contextmanager
def _without_messages() -> Any:
    """Suppress the exporter's progress report, its log messages, and the warnings about its code."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
