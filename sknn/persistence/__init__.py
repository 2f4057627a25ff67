"""Save and load estimators as one file: arrays as safetensors, everything else as JSON, and no code.

`docs/saving.md` describes the format, its limits, and how to raise its version.
"""

import json
import platform
import sys
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.base import BaseEstimator
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils.validation import check_is_fitted

from sknn.persistence.codec import Decoder, Encoder
from sknn.persistence.container import InvalidFileError, pack, parse_json, unpack
from sknn.training.state import move_net
from sknn.utils.device import resolve_device
from sknn.utils.files import as_path, write_atomically

__all__ = ["FORMAT_VERSION", "TRUSTED_TYPES", "InvalidFileError", "load", "save"]

# Raise it if older versions of sknn would misread a new file; docs/saving.md lists the steps.
FORMAT_VERSION = 1

TRUSTED_TYPES = [
    "sknn.estimators.classifier.NeuralClassifier",
    "sknn.estimators.regressor.NeuralRegressor",
    "sknn.preprocessing.scaling.ColumnScaler",
    "sknn.preprocessing.features.FeatureEncoder",
    "sknn.preprocessing.targets.ClassEncoder",
    "sknn.preprocessing.targets.ValueEncoder",
]
"""Types of sknn's estimators for `skops.io.load(file, trusted=TRUSTED_TYPES)`; loading them runs no code."""


def save(estimator: BaseEstimator, path: Any) -> None:
    """Save a fitted estimator, or a scikit-learn pipeline with one, to one file that holds no code.

    Parameters
    ----------
    estimator : estimator
        A fitted `NeuralClassifier` or `NeuralRegressor`, or a `Pipeline`, `ColumnTransformer`,
        `TransformedTargetRegressor`, `VotingClassifier`, ... of common steps; see docs/saving.md for the list.
    path : str or path-like
        The file; '.sknn' is the usual extension. An existing file is replaced as a whole, or kept if saving fails.

    Returns
    -------
    None

    Raises
    ------
    TypeError
        If a part can't be saved without code in the file. The message names the part and the alternatives.
    ValueError
        If the estimator is too large, or nested too deeply, for `load`.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    OSError
        If the file can't be written.

    Notes
    -----
    Your own functions and objects in the parameters `module`, `loss`, `solver`, `scoring`, `metrics` and `callbacks`
    are not saved; pass them to `load`. A search can't be saved; save its `best_estimator_`.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np
    >>> from sknn import NeuralRegressor, load, save
    >>> X = np.linspace(-1, 1, 100)[:, None]
    >>> reg = NeuralRegressor(hidden_layer_sizes=(8,), max_iter=5, random_state=0).fit(X, X[:, 0])
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.sknn"
    >>> save(reg, path)
    >>> bool((load(path).predict(X) == reg.predict(X)).all())
    True
    """
    file = as_path(path)
    if isinstance(estimator, BaseSearchCV):
        raise TypeError(
            f"a {type(estimator).__name__} can't be saved; save its result: save(search.best_estimator_, path)."
        )
    if not isinstance(estimator, BaseEstimator):
        raise TypeError(f"estimator has to be a fitted estimator; got {type(estimator).__name__}.")
    check_is_fitted(estimator)
    encoder = Encoder()
    try:
        model = encoder.encode(estimator)
        document = {
            "format_version": FORMAT_VERSION,
            "written_by": _versions(),
            "given": encoder.placeholders,
            "model": model,
        }
        data = pack(json.dumps(document, allow_nan=False), encoder.arrays)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{type(estimator).__name__} can't be saved to {str(path)!r}: {error}.") from error
    write_atomically(file, data)


def load(path: Any, device: str | None = None, **params: Any) -> Any:
    """Load an estimator that `save` wrote. Files from anyone are safe: no code in them is run, no class is imported.

    Parameters
    ----------
    path : str or path-like
    device : str, optional
        Device of the networks: 'cpu', 'cuda', 'auto', ... By default the `device` parameter of each estimator, or the
        CPU if this machine has no such device.
    **params
        Parameters that the file does not hold because they are code, such as `module=MyNet` or `loss=my_loss`. If one
        is missing, the error message names it.

    Returns
    -------
    estimator
        With the same parameters, fitted attributes and history, and on the same device the same predictions, bit for
        bit. Only `n_jobs` is None in every estimator, so that a file starts no processes.

    Raises
    ------
    InvalidFileError
        If the file was not saved by sknn, is damaged, forged or of a newer version, or if a parameter is missing.
    OSError
        If the file can't be read.
    """
    file = as_path(path)
    target_device = None if device is None else resolve_device(device)
    data = file.read_bytes()
    try:
        document, arrays = unpack(data)
        model, estimators = _decode(parse_json(document), arrays, params)
        for estimator in estimators:
            move_net(estimator.net_, target_device or _saved_device(estimator))
    except ImportError:
        raise
    except Exception as error:  # a forged file may cause any of them
        raise InvalidFileError(f"{str(path)!r} can't be loaded: it {_reason(error)}.") from error
    return model


def _decode(document: Any, arrays: dict[str, np.ndarray], params: dict[str, Any]) -> tuple[Any, list[Any]]:
    """Return the model of a document, and the estimators of sknn in it."""
    version = document["format_version"]
    if type(version) is not int or version < 1:
        raise InvalidFileError(f"has the format version {version!r}, which does not exist")
    if version > FORMAT_VERSION:
        raise InvalidFileError(
            f"was written by a newer sknn ({document['written_by']['sknn']}) in format version {version}; this one "
            f"reads versions up to {FORMAT_VERSION}. Upgrade it: pip install --upgrade sknn"
        )
    required = document["given"]
    if missing := [name for name in required if name not in params]:
        values = ", ".join(f"{name}={required[name]}" for name in missing)
        arguments = ", ".join(f"{name}=..." for name in missing)
        raise InvalidFileError(f"does not hold the code of {values}; pass it: load(path, {arguments})")
    if unknown := sorted(set(params) - set(required)):
        raise InvalidFileError(f"has no placeholder for {', '.join(unknown)}; use set_params after loading instead")
    decoder = Decoder(arrays, params)
    model = decoder.decode(document["model"])
    if not isinstance(model, BaseEstimator):
        raise InvalidFileError(f"holds a {type(model).__name__} instead of an estimator")
    check_is_fitted(model)
    return model, decoder.estimators


def _saved_device(estimator: Any) -> torch.device:
    """Return the device of the estimator's parameter, or the CPU if this machine does not have it."""
    try:
        return resolve_device(estimator.device)
    except ValueError:
        return torch.device("cpu")


def _reason(error: Exception) -> str:
    """Return an error as the end of a sentence that begins with 'it'."""
    if isinstance(error, InvalidFileError):
        return str(error)
    return f"is inconsistent ({type(error).__name__}: {str(error).rstrip('.')})"


def _versions() -> dict[str, str]:
    """Return the versions that write a file, which may explain why it does not load later."""
    return {
        "sknn": sys.modules["sknn"].__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "torch": str(torch.__version__),
    }
