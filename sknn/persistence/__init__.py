"""Save and load: one file, weights as safetensors and everything else as JSON, of which nothing is ever run.

`docs/saving.md` describes the format, what is in it, what is refused, and how its version is raised.
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
from sknn.persistence.files import as_path, write_atomically
from sknn.training.state import move_net
from sknn.utils.device import resolve_device

__all__ = ["FORMAT_VERSION", "TRUSTED_TYPES", "InvalidFileError", "load", "save"]

# Raised when a file of the new kind would be misread by the sknn before; docs/saving.md has the recipe.
FORMAT_VERSION = 1

TRUSTED_TYPES = [
    "sknn.estimators.classifier.NeuralClassifier",
    "sknn.estimators.regressor.NeuralRegressor",
    "sknn.preprocessing.scaling.ColumnScaler",
    "sknn.preprocessing.features.FeatureEncoder",
    "sknn.preprocessing.targets.ClassEncoder",
    "sknn.preprocessing.targets.ValueEncoder",
]
"""What `skops.io.load(file, trusted=TRUSTED_TYPES)` has to trust for an estimator of ours, none of which runs code."""


def save(estimator: BaseEstimator, path: Any) -> None:
    """Save a fitted network, or a pipeline of scikit-learn's around it, to one file that holds no code.

    Parameters
    ----------
    estimator : estimator
        A fitted `NeuralClassifier` or `NeuralRegressor`, or a `Pipeline`, `ColumnTransformer`,
        `TransformedTargetRegressor`, `VotingClassifier`, ... of common steps; see docs/saving.md for the list.
    path : str or path-like
        The file; '.sknn' is the usual extension. It is replaced as a whole, or left as it was if anything goes wrong.

    Returns
    -------
    None

    Raises
    ------
    TypeError
        For what can't be saved without code in the file, with the way to it and what to do.
    ValueError
        For what is too large, or nested too deeply, to be read again.
    sklearn.exceptions.NotFittedError
        Before `fit`.
    OSError
        If the file can't be written.

    Notes
    -----
    Functions and objects of your own in the parameters `module`, `loss`, `solver`, `scoring`, `metrics` and `callbacks`
    are not saved; `load` asks for them. A search is not saved, only its `best_estimator_`.

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
            "given": encoder.given,
            "model": model,
        }
        data = pack(json.dumps(document, allow_nan=False), encoder.arrays)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{type(estimator).__name__} can't be saved to {str(path)!r}: {error}.") from error
    write_atomically(file, data)


def load(path: Any, device: str | None = None, **given: Any) -> Any:
    """Load what `save` wrote, from anyone: nothing in the file is run, and no class is imported that it names.

    Parameters
    ----------
    path : str or path-like
    device : str, optional
        Where the networks go: 'cpu', 'cuda', 'auto', ... By default where each one's own `device` parameter says, or to
        the CPU if this machine has no such device.
    **given
        Parameters that the file does not hold because they are code, such as `module=MyNet` or `loss=my_loss`. The
        message of the error without them names them.

    Returns
    -------
    estimator
        As it was: parameters, fitted attributes, history, and on the same device the same predictions bit for bit. Only
        `n_jobs` of every estimator in it is None, as a file is to start no processes.

    Raises
    ------
    InvalidFileError
        If the file is none of sknn's, damaged, forged or of a newer version, or asks for parameters that are not given.
    OSError
        If it can't be read.
    """
    file = as_path(path)
    chosen = None if device is None else resolve_device(device)
    data = file.read_bytes()
    try:
        document, arrays = unpack(data)
        estimator, networks = _model(parse_json(document), arrays, given)
        for network in networks:
            move_net(network.net_, chosen or _own_device(network))
    except ImportError:
        raise
    except Exception as error:  # whatever a forged file leads to
        raise InvalidFileError(f"{str(path)!r} can't be loaded: it {_reason(error)}.") from error
    return estimator


def _model(document: Any, arrays: dict[str, np.ndarray], given: dict[str, Any]) -> tuple[Any, list[Any]]:
    """The estimator of a document, and its networks."""
    version = document["format_version"]
    if type(version) is not int or version < 1:
        raise InvalidFileError(f"has the format version {version!r}, which there is not")
    if version > FORMAT_VERSION:
        raise InvalidFileError(
            f"was written by a newer sknn ({document['written_by']['sknn']}), in format version {version}, and this "
            f"one reads up to {FORMAT_VERSION}; upgrade it: pip install --upgrade sknn"
        )
    asked = document["given"]
    if missing := [name for name in asked if name not in given]:
        what = ", ".join(f"{name}={asked[name]}" for name in missing)
        how = ", ".join(f"{name}=..." for name in missing)
        raise InvalidFileError(f"does not hold the code of {what}; give it: load(path, {how})")
    if foreign := sorted(set(given) - set(asked)):
        raise InvalidFileError(f"does not ask for {', '.join(foreign)}; leave it out, and use set_params after")
    decoder = Decoder(arrays, given)
    estimator = decoder.decode(document["model"])
    if not isinstance(estimator, BaseEstimator):
        raise InvalidFileError(f"holds a {type(estimator).__name__} in the place of an estimator")
    check_is_fitted(estimator)
    return estimator, decoder.networks


def _own_device(network: Any) -> torch.device:
    try:
        return resolve_device(network.device)
    except ValueError:
        return torch.device("cpu")


def _reason(error: Exception) -> str:
    """An error as the end of a sentence that begins with 'it'."""
    if isinstance(error, InvalidFileError):
        return str(error)
    return f"holds what does not fit together ({type(error).__name__}: {str(error).rstrip('.')})"


def _versions() -> dict[str, str]:
    """Who wrote a file, for whoever has to find out why it does not load."""
    return {
        "sknn": sys.modules["sknn"].__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "torch": str(torch.__version__),
    }
