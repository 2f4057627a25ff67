"""A custom module as part of an ONNX graph: torch's own exporter writes it, and it is spliced in."""

import contextlib
import io
import logging
import warnings
from typing import Any

import torch

from sknn.export.onnx.graph import Graph
from sknn.network.custom import CustomNetwork

OLDEST_OPSET = 18  # that torch's exporter writes


def custom_outputs(graph: Graph, network: CustomNetwork, x: str, shape: tuple[int, ...]) -> str:
    """Outputs ((members,) n, K) of rows of this shape."""
    from onnx.compose import add_prefix_graph

    program = _exported(network, shape, graph.opset)
    if program.functions or any(node.domain for node in program.graph.node):
        raise ValueError(
            "The custom module's ONNX graph uses operators of torch's own, which ONNX Runtime does not know: "
            f"{sorted({n.domain + '.' + n.op_type for n in program.graph.node if n.domain})}."
        )
    prefix = graph.scope.get_unique_variable_name("module") + "_"
    inner = add_prefix_graph(program.graph, prefix)
    graph("Identity", x, output=inner.input[0].name)
    graph.container.initializers.extend(inner.initializer)
    graph.container.nodes.extend(inner.node)
    graph.container.node_domain_version_pair_sets.add(("", graph.opset))
    return inner.output[0].name


def _exported(network: CustomNetwork, shape: tuple[int, ...], opset: int) -> Any:
    if opset < OLDEST_OPSET:
        raise ValueError(
            f"target_opset={opset}: torch writes a custom module in opset {OLDEST_OPSET} or later; ask for that."
        )
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Exporting a custom module needs onnxscript; install it with: pip install 'sknn[onnx]'"
        ) from error
    rows = torch.zeros(2, *shape, dtype=network.param_buffer.dtype)
    batch = {0: torch.export.Dim("n")}
    with _quietly():
        program = torch.onnx.export(
            _Members(network).cpu().eval(), (rows,), dynamo=True, opset_version=opset, dynamic_shapes=(batch,),
            verbose=False,
        )  # fmt: skip
    model: Any = program.model_proto  # type: ignore[union-attr]
    written = next(entry.version for entry in model.opset_import if not entry.domain)
    if written != opset:
        raise ValueError(
            f"target_opset={opset}: torch could write the custom module in opset {written} only; ask for that one."
        )
    return model


class _Members(torch.nn.Module):
    """The members side by side; a single one without its axis."""

    def __init__(self, network: CustomNetwork) -> None:
        super().__init__()
        self.members = torch.nn.ModuleList(_plain_copy(network))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        outputs = [member(rows) for member in self.members]
        return outputs[0] if len(outputs) == 1 else torch.stack(outputs)


def _plain_copy(network: CustomNetwork) -> list[torch.nn.Module]:
    """Copies of the modules that own their memory."""
    modules, *_ = network.__reduce__()[1]
    return modules


@contextlib.contextmanager
def _quietly() -> Any:
    """Without the exporter's progress report, its notes on its own version, and its warnings about its own code."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
