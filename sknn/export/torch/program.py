"""`to_torch_program`: export an estimator as a `torch.export` program, which runs without sknn or scikit-learn."""

import copy
import io
import json
import os
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sknn.estimators.base import BaseNeural
from sknn.estimators.classifier import NeuralClassifier
from sknn.estimators.regressor import NeuralRegressor
from sknn.export.check import LOW_PRECISION, rows_to_check
from sknn.export.synthetic import synthetic_rows
from sknn.export.torch.encoder import TorchEncoder, raw_tensors
from sknn.export.weights import differing_weights
from sknn.network.base import Network
from sknn.network.layers import Activation
from sknn.network.mlp import MLP
from sknn.utils.files import as_path, write_atomically

DESCRIPTION_FILE = "sknn.json"  # the extra file of a saved program
TOLERANCE = 1e-6

# torch's own activations: ours depend on the number of rows, which a program does not fix.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "mish": nn.Mish,
    "leaky_relu": nn.LeakyReLU,
}
LINKS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda z: torch.softmax(z, -1),
    "logistic": torch.sigmoid,
    "exp": torch.exp,
    "identity": lambda z: z,
}


def to_torch_program(
    estimator: BaseNeural, X_sample: Any = None, path: str | os.PathLike | None = None
) -> torch.export.ExportedProgram:
    """Export a fitted estimator as a `torch.export` program with the same predictions.

    The program takes raw values, replaces missing ones (NaN), scales them, runs all members and averages their outputs
    by their weights. It takes any number of rows, and needs torch only.

    Parameters
    ----------
    estimator : NeuralClassifier or NeuralRegressor
        Fitted. The other steps of a pipeline cannot be exported this way; use `to_onnx` for them.
    X_sample : like the X of `fit`, optional
        Rows to check the program with; at most 256 are used. By default they are synthetic, from the statistics of the
        columns. Required with a `module` whose rows have more than one dimension.
    path : str or path-like, optional
        A file to save the program to. Its name ends in ``.pt2``; ``torch.export.load(path).module()`` reads it.

    Returns
    -------
    torch.export.ExportedProgram
        ``program.module()(numbers)`` returns the result of a classifier's `predict_proba` or a regressor's `predict` as
        a float64 tensor. ``numbers`` is a float64 tensor of shape (n, n_numeric): the numeric columns in the order of
        the fit. With categories, the call is ``program.module()(numbers, codes)``. ``codes`` is an int64 tensor of
        shape (n, n_categorical): for each category the position of the level, counted from 1, in the description's
        list of levels. 0 and all other integers mean missing or unknown.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If `estimator` is neither a `NeuralClassifier` nor a `NeuralRegressor`.
    ValueError
        If `X_sample` is required and missing.
    RuntimeError
        If the program's predictions differ from the estimator's by more than 1e-6 of the largest one (2e-2 with
        precision='bfloat16'). Nothing is written then.

    See Also
    --------
    to_onnx : Export a whole pipeline, with strings, for ONNX Runtime.

    Notes
    -----
    A tensor holds no strings, so categories are codes. The saved file has a description, the extra file ``sknn.json``:
    the names of the columns, the levels of each category, and the classes
    (``files = {"sknn.json": ""}; torch.export.load(path, extra_files=files)`` reads it). Unlike the estimator, the
    program does not refuse infinities.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sknn import NeuralClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> clf = NeuralClassifier(hidden_layer_sizes=8, max_iter=2, random_state=0).fit(X, y)
    >>> predict_proba = to_torch_program(clf).module()
    >>> predict_proba(torch.tensor(X)).shape
    torch.Size([569, 2])
    """
    if not isinstance(estimator, NeuralClassifier | NeuralRegressor):
        raise TypeError(
            f"to_torch_program takes a NeuralClassifier or NeuralRegressor, got {type(estimator).__name__}; give the "
            "last step of a pipeline, or export all of it with to_onnx."
        )
    check_is_fitted(estimator, "net_")
    file = None if path is None else as_path(path)
    X = _sample(estimator, X_sample)
    tensors = raw_tensors(estimator._features, X)
    rows = torch.export.Dim("rows")
    # Exported with a single row, a program takes one row only. So the rows are doubled.
    example = tuple(torch.cat([tensor, tensor]) for tensor in tensors)
    with torch.enable_grad():  # without gradients, our functions overwrite their arguments
        program = torch.export.export(_Program(estimator), example, dynamic_shapes=({0: rows},) * len(tensors))
    tolerance = LOW_PRECISION if estimator.precision == "bfloat16" else TOLERANCE
    _check(program, tensors, _estimator_predictions(estimator, X), tolerance)
    if file is not None:
        content = io.BytesIO()
        torch.export.save(program, content, extra_files={DESCRIPTION_FILE: json.dumps(_describe(estimator))})
        write_atomically(file, content.getvalue())
    return program


class _Program(nn.Module):
    """Encoder, network, link, weighted mean over members, and, for a regressor, the unit of y."""

    def __init__(self, estimator: Any) -> None:
        super().__init__()
        self.encoder = None if estimator._features is None else TorchEncoder(estimator._features)
        self.network = _inference_copy(estimator.net_.module_)
        self.dtype = estimator.net_.module_.dtype
        self.link = LINKS[estimator.out_activation_]
        self.average = _MembersMean(estimator)
        self.finish = (_Probabilities if isinstance(estimator, NeuralClassifier) else _Values)(estimator)

    def forward(self, numbers: Tensor, codes: Tensor | None = None) -> Tensor:  # the arguments are public
        if self.encoder is not None:
            numbers, codes = self.encoder(numbers, codes)
        encoded = [numbers.to(self.dtype)] if codes is None else [numbers.to(self.dtype), codes]
        return self.finish(self.average(self.link(self.network(*encoded))).double())


class _MembersMean(nn.Module):
    """Averages the members' outputs (M, n, K) by their weights. Quantiles are sorted before, so that none cross."""

    weights: Tensor | None

    def __init__(self, estimator: Any) -> None:
        super().__init__()
        self.sorts = isinstance(estimator, NeuralRegressor) and len(estimator._quantiles()) > 1
        weights = differing_weights(estimator)
        shares = None if weights is None else torch.tensor(weights, dtype=estimator.net_.module_.dtype)[:, None, None]
        self.register_buffer("weights", shares)

    def forward(self, outputs: Tensor) -> Tensor:
        outputs = outputs.sort(-1).values if self.sorts else outputs
        return outputs.mean(0) if self.weights is None else (outputs * self.weights).sum(0)


class _Probabilities(nn.Module):
    """Returns a column of probabilities per class."""

    def __init__(self, estimator: NeuralClassifier) -> None:
        super().__init__()
        self.target_kind = estimator._target.kind_

    def forward(self, p: Tensor) -> Tensor:
        if self.target_kind == "binary":
            return torch.cat([1 - p, p], 1)
        return p / p.sum(1, keepdim=True) if self.target_kind == "multiclass" else p


class _Values(nn.Module):
    """Returns the values in the unit of y."""

    scale: Tensor
    center: Tensor

    def __init__(self, estimator: NeuralRegressor) -> None:
        super().__init__()
        self.is_flat = estimator._network_outputs() == 1 and estimator._target_ndim == 1
        self.register_buffer("scale", torch.tensor(estimator._target.scale_))
        self.register_buffer("center", torch.tensor(estimator._target.center_))

    def forward(self, z: Tensor) -> Tensor:
        values = z * self.scale + self.center
        return values[:, 0] if self.is_flat else values


def _inference_copy(network: Network) -> Network:
    """Return a copy on the CPU for inference: without gradients, and with separate memory for each tensor."""
    network = copy.deepcopy(network).cpu().eval().requires_grad_(False)
    for tensor in chain(network.parameters(), network.buffers()):
        tensor.data = tensor.data.clone()
    for layers in (part.layers for part in network.parts if isinstance(part, MLP)):
        for i, layer in enumerate(layers):
            if isinstance(layer, Activation):
                layers[i] = ACTIVATIONS[layer.name]()
    return network


def _sample(estimator: BaseNeural, X_sample: Any) -> Any:
    if X_sample is not None:
        return rows_to_check(estimator._check_X(X_sample, reset=False))
    if estimator._features is None:
        raise ValueError(
            "X_sample is needed for a module whose rows have more than one dimension: the estimator does not know the "
            "shape of a row. Give a few rows as X_sample."
        )
    return synthetic_rows(estimator._features.plan)


def _estimator_predictions(estimator: Any, X: Any) -> np.ndarray:
    """Return the estimator's predictions for checked rows."""
    outputs = estimator._predict_block(X, None)
    if isinstance(estimator, NeuralClassifier):
        return estimator._probabilities(outputs, np.float64)
    return estimator._predict_from(outputs, np.float64)


def _check(
    program: torch.export.ExportedProgram, tensors: tuple[Tensor, ...], expected: np.ndarray, tolerance: float
) -> None:
    """Refuse predictions that differ by more than this share of the largest one."""
    actual = program.module()(*tensors).numpy()
    differs, size = actual != expected, np.abs(expected[np.isfinite(expected)])
    error, allowed = np.abs(actual[differs] - expected[differs]).max(initial=0.0), tolerance * size.max(initial=0.0)
    if not error <= allowed:
        raise RuntimeError(
            f"The program's predictions differ from the estimator's by up to {error:.2g}, more than {allowed:.2g}; "
            "nothing was written. A custom module has to compute the same when it is exported."
        )


def _describe(estimator: BaseNeural) -> dict[str, Any]:
    """Describe the inputs and outputs, for readers of the file."""
    encoder = estimator._features
    description: dict[str, Any] = {"classes": None, "numbers": None, "codes": {}}
    if isinstance(estimator, NeuralClassifier):
        description["classes"] = estimator.classes_.tolist()
    if encoder is not None:
        names = getattr(estimator, "feature_names_in_", np.arange(estimator.n_features_in_)).tolist()
        description["numbers"] = [names[j] for j in encoder.plan.numeric]
        description["codes"] = {str(names[category.index]): category.levels for category in encoder.plan.categories}
    return description
