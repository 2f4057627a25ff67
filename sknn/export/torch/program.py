"""A fitted estimator as one `torch.export` program, which PyTorch runs without sknn or scikit-learn."""

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
from sknn.export.check import LOW_PRECISION, some_rows
from sknn.export.synthetic import ROWS, synthetic_rows
from sknn.export.torch.encoder import TorchEncoder, raw_tensors
from sknn.network.base import EnsembleNetwork
from sknn.network.layers import Activation
from sknn.network.mlp import MLP
from sknn.persistence.files import as_path, write_atomically

DESCRIPTION = "sknn.json"  # the extra file of a saved program
TOLERANCE = 1e-6

# torch's own, since the engine's look at the size of a batch, which a program leaves open.
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
    """Make a program of torch's own that predicts what a fitted estimator predicts.

    The program takes raw numbers, fills in the missing ones (NaN), scales them, runs all members and averages them.  It
    takes any number of rows, and runs wherever torch does, without sknn.

    Parameters
    ----------
    estimator : NeuralClassifier or NeuralRegressor
        Fitted.  A pipeline's other steps have no program; `to_onnx` exports all of it.
    X_sample : like the X of `fit`, optional
        Rows to check the program with; at most 256 are taken.  By default they are made up from what the estimator
        knows about its columns; needed with a `module` whose rows have more than one dimension.
    path : str or path-like, optional
        Where to save it, a file that ends in ``.pt2``; ``torch.export.load(path).module()`` reads it.

    Returns
    -------
    torch.export.ExportedProgram
        ``program.module()(numbers)`` gives what `predict_proba` of a classifier and `predict` of a regressor give, as a
        float64 tensor.  ``numbers`` is a float64 tensor of shape (n, n_numeric): the numeric columns in the order of
        the fit, all of them if there are no categories, and perhaps none.  With categories, it is
        ``program.module()(numbers, codes)``, and ``codes`` an int64 tensor of shape (n, n_categorical): for each
        category the place of its level, counted from 1, in the list that the description holds; 0, and any number that
        is not a place there, stands for missing or unknown.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If `estimator` is something else than a `NeuralClassifier` or `NeuralRegressor`.
    ValueError
        If `X_sample` is needed and not given.
    RuntimeError
        If the program does not give the estimator's own predictions within 1e-6 of the largest (2e-2 with
        precision='bfloat16'): nothing is written then.

    See Also
    --------
    to_onnx : The whole pipeline, with strings, for ONNX Runtime.

    Notes
    -----
    A tensor holds no strings, so categories come as codes.  The saved file describes itself: its extra file
    ``sknn.json`` holds the names of the columns, the levels of each category, and the classes
    (``files = {"sknn.json": ""}; torch.export.load(path, extra_files=files)`` reads it).  Unlike the estimator, the
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
    example = tuple(torch.cat([tensor, tensor]) for tensor in tensors)  # of a single row it would take one row only
    with torch.enable_grad():  # without, the engine's functions write over their arguments
        program = torch.export.export(_Program(estimator), example, dynamic_shapes=({0: rows},) * len(tensors))
    rate = LOW_PRECISION if estimator.precision == "bfloat16" else TOLERANCE
    _check(program, tensors, _own_predictions(estimator, X), rate)
    if file is not None:
        content = io.BytesIO()
        torch.export.save(program, content, extra_files={DESCRIPTION: json.dumps(_describe(estimator))})
        write_atomically(file, content.getvalue())
    return program


class _Program(nn.Module):
    """Encoder, network, link, mean over members, and back to the unit of y."""

    def __init__(self, estimator: Any) -> None:
        super().__init__()
        self.encoder = None if estimator._features is None else TorchEncoder(estimator._features)
        self.network = _plain(estimator.net_.module_)
        self.dtype = estimator.net_.module_.param_buffer.dtype
        self.link = LINKS[estimator.out_activation_]
        self.finish = (_Probabilities if isinstance(estimator, NeuralClassifier) else _Values)(estimator)

    def forward(self, numbers: Tensor, codes: Tensor | None = None) -> Tensor:
        if self.encoder is not None:
            numbers, codes = self.encoder(numbers, codes)
        encoded = [numbers.to(self.dtype)] if codes is None else [numbers.to(self.dtype), codes]
        return self.finish(self.link(self.network(*encoded)))


class _Probabilities(nn.Module):
    """Probabilities (M, n, K) of the members to those of the ensemble, a column per class."""

    def __init__(self, estimator: NeuralClassifier) -> None:
        super().__init__()
        self.kind = estimator._target.kind_

    def forward(self, p: Tensor) -> Tensor:
        shares = p.mean(0).double()
        if self.kind == "binary":
            return torch.cat([1 - shares, shares], 1)
        return shares / shares.sum(1, keepdim=True) if self.kind == "multiclass" else shares


class _Values(nn.Module):
    """Values (M, n, K) of the members to those of the ensemble, in the unit of y."""

    scale: Tensor
    center: Tensor

    def __init__(self, estimator: NeuralRegressor) -> None:
        super().__init__()
        self.sorts = len(estimator._quantiles()) > 1
        self.is_flat = estimator._network_outputs() == 1 and estimator._target_ndim == 1
        self.register_buffer("scale", torch.tensor(estimator._target.scale_))
        self.register_buffer("center", torch.tensor(estimator._target.center_))

    def forward(self, z: Tensor) -> Tensor:
        z = z.sort(-1).values if self.sorts else z  # quantiles never cross
        values = z.mean(0).double() * self.scale + self.center
        return values[:, 0] if self.is_flat else values


def _plain(network: EnsembleNetwork) -> EnsembleNetwork:
    """A copy on the CPU for predictions only: no gradients, every tensor with memory of its own."""
    network = copy.deepcopy(network).cpu().eval().requires_grad_(False)
    for tensor in chain(network.parameters(), network.buffers()):
        tensor.data = tensor.data.clone()
    if isinstance(network, MLP):
        for i, layer in enumerate(network.layers):
            if isinstance(layer, Activation):
                network.layers[i] = ACTIVATIONS[layer.name]()
    return network


def _sample(estimator: BaseNeural, X_sample: Any) -> Any:
    if X_sample is not None:
        return some_rows(estimator._check_X(X_sample, reset=False))
    if estimator._features is None:
        raise ValueError(
            "X_sample is needed for a module whose rows have more than one dimension: the estimator does not know the "
            "shape of a row. Give a few rows as X_sample."
        )
    return synthetic_rows(estimator._features, ROWS)


def _own_predictions(estimator: Any, X: Any) -> np.ndarray:
    """What the estimator predicts for rows that it has checked already."""
    outputs = estimator._predict_block(X, None)
    if isinstance(estimator, NeuralClassifier):
        return estimator._probabilities(outputs, np.float64)
    return estimator._predict_from(outputs, np.float64)


def _check(
    program: torch.export.ExportedProgram, tensors: tuple[Tensor, ...], expected: np.ndarray, rate: float
) -> None:
    """Refuse predictions that differ by more than this share of the largest."""
    got = program.module()(*tensors).numpy()
    differs, size = got != expected, np.abs(expected[np.isfinite(expected)])
    error, allowed = np.abs(got[differs] - expected[differs]).max(initial=0.0), rate * size.max(initial=0.0)
    if not error <= allowed:
        raise RuntimeError(
            f"The program's predictions differ from the estimator's by up to {error:.2g}, more than {allowed:.2g}; "
            "nothing was written. A module of your own has to do the same when it is exported."
        )


def _describe(estimator: BaseNeural) -> dict[str, Any]:
    """What a reader of the file has to know about its inputs and outputs."""
    encoder = estimator._features
    description: dict[str, Any] = {"classes": None, "numbers": None, "codes": {}}
    if isinstance(estimator, NeuralClassifier):
        description["classes"] = estimator.classes_.tolist()
    if encoder is not None:
        names = getattr(estimator, "feature_names_in_", np.arange(estimator.n_features_in_)).tolist()
        description["numbers"] = [names[j] for j in encoder.numeric_]
        levels = zip(encoder.categorical_, encoder.levels_, strict=True)
        description["codes"] = {str(names[j]): its_levels for j, its_levels in levels}
    return description
