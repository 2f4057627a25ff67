"""The base class of both estimators: `fit` and `partial_fit`.

X, y -> validate -> encode -> table on the device -> build or resume a net -> train -> set attributes
"""

import contextlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.base import _fit_context
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import LRScheduler
from torch import Tensor

from sknn.estimators.attributes import DIVERGED, FittedAttributes
from sknn.estimators.built_with import check_same_network, network_parameters
from sknn.estimators.fit_lock import fit_lock
from sknn.estimators.parameters import Parameters
from sknn.estimators.prediction import Prediction
from sknn.estimators.protocol import SklearnProtocol
from sknn.estimators.validation import InputValidation, Rows
from sknn.network.losses import Loss
from sknn.preprocessing.features import ONE_HOT_LEVELS, Encoded, FeatureEncoder
from sknn.preprocessing.levels import MAX_LEVELS
from sknn.training.build import make_net, make_network, make_plan, make_solver
from sknn.training.callbacks import copy_callback, instantiated, listed
from sknn.training.kinds import kinds_of, member_kinds
from sknn.training.net import TrainingNet
from sknn.training.plan import TrainingSet
from sknn.training.resolve import ensemble_size, is_double, member_seeds, precision
from sknn.training.split import split
from sknn.training.state import move_net
from sknn.training.table import Table
from sknn.training.target_means import random_folds, set_target_means
from sknn.training.weights import choose_weights
from sknn.utils.device import resolve_device
from sknn.utils.threads import threads


class BaseNeural(Parameters, SklearnProtocol, InputValidation, FittedAttributes, Prediction):
    """Base class of `NeuralClassifier` and `NeuralRegressor`."""

    _parameter_constraints: dict[str, list]
    classes_: np.ndarray

    # --- Differs between classifier and regressor ---------------------------------------------------------------------

    @abstractmethod
    def _fit_target(self, rows: Rows, classes: Any) -> None:
        """Learn how to encode y."""

    @abstractmethod
    def _encode_target(self, rows: Rows) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the encoded target (n, K), and row weights or None."""

    @abstractmethod
    def _make_loss(self) -> Loss:
        """Return the loss for the encoded target."""

    @abstractmethod
    def _network_outputs(self) -> int:
        """Return the number of the network's outputs."""

    @abstractmethod
    def _labels(self, target: Tensor) -> np.ndarray:
        """Return the y that skorch's callbacks see, from the encoded target."""

    @abstractmethod
    def _target_kind(self) -> str:
        """Return the key in `METRICS` for the encoded target."""

    @abstractmethod
    def _default_metric(self) -> str | None:
        """Return the name of the estimator's own score in `METRICS`, or None."""

    # --- fit ----------------------------------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Fit to a table and its target.

        Parameters
        ----------
        X : frame, array-like or sparse matrix of shape (n_samples, n_features)
            A raw table: numbers, strings, categories, missing values. With `module`, X may have more dimensions.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels (of a classifier) or values.
        sample_weight : array-like of shape (n_samples,), optional
            A row of weight k counts as k rows in a step. Rows of weight 0 are left out. Weights are divided by the
            largest if single precision can't add them up (some above 1e12, or all below 1e-12).
        X_val, y_val, sample_weight_val : like X, y and sample_weight, optional
            Rows for early stopping, instead of rows held out from X. They need the columns of X. A Pipeline does not
            transform them, unless it has ``transform_input=['X_val']``. Not allowed with solver='lbfgs'.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter, the table or the target is invalid, or if the loss becomes NaN in the first epoch.
        MemoryError
            If the network, or a step of the training, does not fit into the device's memory.
        """
        with self._restored_on_failure(), self._tracked_callbacks(X, y, complete=True) as callbacks:
            resume = self.warm_start and self.__sklearn_is_fitted__()
            table, n_rows = self._encode_all(X, y, sample_weight, X_val, y_val, sample_weight_val, reset=not resume)
            self._train(table, n_rows, resume, epochs=None, callbacks=callbacks)
        return self

    @contextlib.contextmanager
    def _restored_on_failure(self) -> Iterator[None]:
        """Restore the estimator if the fit fails or is interrupted."""
        before = dict(self.__dict__)
        is_fitted = self.__sklearn_is_fitted__()  # a warm start or partial_fit changes net_
        with fit_lock(self):
            try:
                with self.net_.restored_on_failure() if is_fitted else contextlib.nullcontext():
                    yield
            except BaseException:
                self.__dict__ = before
                raise

    def _is_stochastic(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError("partial_fit needs a stochastic solver ('adamw', 'adam', 'sgd'); got solver='lbfgs'.")
        return True

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, classes: Any = None) -> Self:
        with self._restored_on_failure(), self._tracked_callbacks(X, y, complete=False) as callbacks:
            resume = self.__sklearn_is_fitted__()
            classes = self._classes_of_first_call(classes)
            table, n_rows = self._encode_all(X, y, sample_weight, reset=not resume, classes=classes)
            self._train(table, n_rows, resume, epochs=1, callbacks=callbacks)
        return self

    def _classes_of_first_call(self, classes: Any) -> Any:
        """Return the classes passed to the first `partial_fit`; None in later calls and for a regressor."""
        return None

    def _encode_all(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
        *,
        reset: bool = True,
        classes: Any = None,
    ) -> tuple[Table, int]:
        """Return the table of all encoded rows and the number of training rows, which come first.

        The encoders are fitted if `reset`; otherwise they are those of the last fit.
        """
        for name, value in {"y_val": y_val, "sample_weight_val": sample_weight_val}.items():
            if X_val is None and value is not None:
                raise ValueError(f"{name} was given without X_val; give both, or neither.")
        if X_val is not None and self.solver == "lbfgs":
            raise ValueError(
                "X_val was given with solver='lbfgs', which has no early stopping to use it for; leave it out, or use "
                "another solver."
            )
        rows = self._check_rows(X, y, sample_weight, reset)
        if reset:
            self._fit_encoders(rows, classes)
        else:
            check_same_network(self)
        held = None if X_val is None else self._check_rows(X_val, y_val, sample_weight_val, False, "_val")
        device = resolve_device(self.device) if reset else self.device_
        return self._make_table([rows] if held is None else [rows, held], device), rows.y.shape[0]

    def _train(self, table: Table, n_rows: int, resume: bool, epochs: int | None, callbacks: list) -> None:
        """Train a new network (the present one if `resume`) for `epochs` epochs (`max_iter` if None)."""
        net, data = self._prepare(table, n_rows, resume, epochs, callbacks)
        with self._explain_memory_errors(net.plan.batch_size), self._threads(net, data):
            net.partial_fit(data, epochs=epochs)
            choose_weights(net, data)
        self._finish_fit(net, complete=epochs is None)

    def _prepare(
        self, table: Table, n_rows: int, resume: bool = False, epochs: int | None = None, callbacks: Sequence = ()
    ) -> tuple[TrainingNet, TrainingSet]:
        """Return a net that is ready to train, and the rows of each member."""
        is_stream = epochs is not None
        if resume:
            kinds = kinds_of(self.net_.module_)
        else:
            kinds = member_kinds(self, table, ensemble_size(self), may_differ=not is_stream)
        sizes = [kind.n_members for kind in kinds]
        seeds = member_seeds(self, sum(sizes))
        data = split(self, table, n_rows, seeds[0][0], sizes, holds_out=self.early_stopping and not is_stream)
        plan, callbacks = make_plan(self, data, seeds, kinds, is_stream), list(callbacks)
        with self._explain_memory_errors(plan.batch_size):
            if resume:
                solver = make_solver(self, sum(sizes))
                net = self.net_.resume(plan, callbacks, solver, same_solver=is_stream)
            else:
                net = make_net(self, make_network(self, data, seeds, kinds), plan, callbacks)
            data = data.prepared_for(net.module)
            if not (resume and is_stream):
                set_target_means(net.module, data)
        net.keeps_optimizer = is_stream
        return net, data

    def _finish_fit(self, net: TrainingNet, complete: bool = True) -> None:
        """Store a trained net and set the fitted attributes; raise an error if a member has failed."""
        if net.failed_members_:
            raise ValueError(DIVERGED.format(epoch=net.diverged_members_[net.failed_members_[0]]))
        self._set_fitted_attributes(net, complete)

    def _threads(self, net: TrainingNet, data: TrainingSet) -> contextlib.AbstractContextManager:
        """Return a context with the number of threads that suits a step of this network."""
        rows = len(data.train_rows[0]) if self.solver == "lbfgs" else net.plan.batch_size
        members = max(net.module.parts, key=lambda part: part.param_buffer.numel()).param_buffer
        n_weights = members.shape[1] if self.solver == "lbfgs" else members.numel()
        return threads(self.n_threads, 3 * rows * n_weights)  # three multiplications for each weight and row

    def _build(self, X: Any, y: Any, classes: Any) -> None:
        """Build an untrained network for rows like these; `from_sklearn` sets its weights."""
        rows = self._check_rows(X, y, None, reset=True)
        self._fit_encoders(rows, classes)
        table = self._make_table([rows], resolve_device(self.device))
        kinds = member_kinds(self, table, ensemble_size(self))
        seeds = member_seeds(self, sum(kind.n_members for kind in kinds))
        data = split(self, table, len(rows.y), seeds[0][0], [len(seeds)], holds_out=False)
        net = make_net(self, make_network(self, data, seeds, kinds), make_plan(self, data, seeds, kinds), [])
        self._set_fitted_attributes(net.initialize_untrained(), complete=False)

    def _training_callbacks(self) -> list:
        """Return copies of the callbacks."""
        callbacks = listed(self.callbacks)
        schedulers = [c for c in callbacks if isinstance(c[1] if isinstance(c, tuple) else c, LRScheduler)]
        if schedulers and self.learning_rate != "constant":
            raise ValueError(
                f"callbacks hold an LRScheduler, and learning_rate={self.learning_rate!r} is a schedule of its own; "
                "use learning_rate='constant' with it."
            )
        return [instantiated(copy_callback(callback)) for callback in callbacks]

    @contextlib.contextmanager
    def _tracked_callbacks(self, X: Any, y: Any, complete: bool) -> Iterator[list]:
        """Yield the callbacks of a training; a callback with the method `track_fit` logs the whole fit."""
        callbacks = self._training_callbacks()
        with contextlib.ExitStack() as frames:
            for callback in callbacks:
                track_fit = getattr(callback[1] if isinstance(callback, tuple) else callback, "track_fit", None)
                if track_fit is not None:
                    frames.enter_context(track_fit(self, X, y, complete))
            yield callbacks

    def _fit_encoders(self, rows: Rows, classes: Any = None) -> None:
        """Fit the encoders of X and y to the training rows; store the parameters that are fixed from here on."""
        self._built_with = network_parameters(self)
        self._fit_target(rows, classes)
        self._features = None
        if getattr(rows.X, "ndim", 2) == 2:
            most = ONE_HOT_LEVELS if self.module is None else MAX_LEVELS  # custom modules get one-hot columns only
            self._features = FeatureEncoder(self.scaling, self.categorical_features, most, self._encoded_dtype())
            self._features.fit(rows.X, rows.weight)

    def _fixed(self, name: str) -> Any:
        """Return the value that a parameter had when the network was built; `set_params` has no effect until `fit`."""
        return self._built_with[name]

    def _encoded_dtype(self) -> Any:
        """Return the type of encoded rows and targets."""
        return np.float64 if is_double(self._fixed("precision"), self._fixed("solver")) else np.float32

    def _encode(self, X: Any) -> Encoded:
        if self._features is None:
            return Encoded(np.array(X, dtype=self._encoded_dtype(), order="C"), np.zeros((len(X), 0), dtype=np.int64))
        return self._features.transform(X)

    def _make_table(self, parts: list[Rows], device: torch.device) -> Table:
        """Return all rows, encoded, on the device: the training rows, then the validation rows."""
        dtype = precision(self, device).dtype
        encoded = [self._encode(rows.X) for rows in parts]
        targets, weights = zip(*(self._encode_target(rows) for rows in parts), strict=True)
        numeric, codes = _stack([e.numeric for e in encoded]), _stack([e.codes for e in encoded])
        weight = None
        if any(w is not None for w in weights):
            filled = [np.ones(len(t)) if w is None else w for w, t in zip(weights, targets, strict=True)]
            weight = torch.from_numpy(np.concatenate(filled)).to(device, dtype)
        return Table(
            numeric if sp.issparse(numeric) else torch.from_numpy(numeric).to(device, dtype),
            torch.from_numpy(codes).to(device) if codes.shape[1] else None,
            torch.from_numpy(_stack(targets)).to(device, dtype),
            weight,
            n_choices=targets[0].shape[1] if self._make_loss().outputs_are_exclusive else 2,
            fold=random_folds(len(targets[0]), sum(map(len, targets[1:]))).to(device) if codes.shape[1] else None,
        )

    def _strata(self, target: Tensor) -> np.ndarray | None:
        """Return the class codes to stratify by, or None."""
        return None

    def _class_codes(self) -> np.ndarray | None:
        """Return the codes of the classes for skorch's callbacks, or None."""
        return None

    @contextlib.contextmanager
    def _explain_memory_errors(self, batch_size: int) -> Iterator[None]:
        try:
            yield
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
                raise
            smaller = max(1, batch_size // 2)
            raise MemoryError(
                f"A step with batch_size={batch_size} and ensemble_size={self.ensemble_size!r} does not fit in the "
                f"device's memory. Try batch_size={smaller}, fewer units, a smaller ensemble_size, or device='cpu'."
            ) from error

    # --- Device -------------------------------------------------------------------------------------------------------

    def to_device(self, device: str) -> Self:
        """Move the network to a device, for predictions and `partial_fit`.

        An unpickled estimator is on the CPU. The parameter `device`, which the next `fit` reads, is not changed.

        Parameters
        ----------
        device : {'auto', 'cpu', 'cuda', 'mps', 'xla'} or a numbered 'cuda:1'

        Returns
        -------
        self

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            If there is no such device on this machine.
        """
        check_is_fitted(self)
        move_net(self.net_, resolve_device(device))
        return self


def _stack(parts: Any) -> Any:
    """Concatenate blocks of rows; a single block is not copied."""
    if len(parts) == 1:
        return parts[0]
    if all(sp.issparse(part) for part in parts):
        return sp.vstack(parts, format="csr")
    return np.concatenate([part.toarray() if sp.issparse(part) else part for part in parts])
