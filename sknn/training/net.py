"""The training loop, inside a skorch net: epochs, batches of all members, validation, callbacks.

`TrainingNet` keeps skorch's methods, history and callbacks, and replaces what is slow for small networks: the dataset
of single rows, the data loader, and a synchronisation and a history record for every batch. Its `fit_loop` reads

    for each epoch:  train each part of the network  ->  validate each  ->  record  ->  callbacks  ->  stop?
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from torch import Tensor

from sknn.network.base import EnsembleNetwork, Network
from sknn.network.losses import Loss
from sknn.network.metrics import weighted_mean
from sknn.network.optimizers import EnsembleOptimizer
from sknn.training.batches import Batch
from sknn.training.blocks import equal_runs
from sknn.training.callbacks import is_of_callback, watches_batches
from sknn.training.cuda_graphs import CudaGraphSteps, can_capture
from sknn.training.measures import BatchLosses, Outputs
from sknn.training.members import LAST_FIT, MemberState
from sknn.training.plan import Plan, TrainingSet
from sknn.training.prediction import NetPrediction
from sknn.training.progress import progress_of
from sknn.training.recorder import EpochRecorder
from sknn.training.resume import ResumableTraining
from sknn.training.run import TrainingRun
from sknn.training.table import EncodedRows


class TrainingNet(ResumableTraining, NetPrediction, NeuralNet):
    """A skorch net over all members of an estimator.

    Callbacks see the members as one net: losses are means over members, and `predict` averages the members. A held-out
    row is predicted by the members that did not train on it.

    Parameters
    ----------
    module : Network
    criterion : Loss
    optimizer : callable
        Makes the optimizer, given the network; such as a `Solver`.
    plan : Plan
    classes : ndarray or None
        Codes of the classes, for scikit-learn's scorers; None for a regressor.

    Attributes
    ----------
    member_states_ : list of MemberState
    member_history_ : dict of int to dict
        Maps each epoch (from 1) to lists of one value per member; empty for a single member.
    stopped_by_ : {None, 'user', 'callback'}
        What ended the last fit early, besides the members' own early stopping.
    """

    member_states_: list[MemberState]
    member_history_: dict[int, dict[str, list[float]]]
    stopped_by_: str | None
    _runs: list[TrainingRun]  # during a training, one for each part of the network that trains
    _recorder: EpochRecorder  # during a training

    def __init__(
        self,
        module: Network,
        criterion: Loss,
        optimizer: Callable[[Network], Any],
        plan: Plan,
        classes: np.ndarray | None = None,
        **kwargs: Any,
    ) -> None:
        self.plan, self.classes, self.keeps_optimizer = plan, classes, False
        options: dict[str, Any] = {"max_epochs": plan.max_iter, "batch_size": plan.batch_size}
        options |= {"train_split": None, "use_caching": False, "verbose": 0}
        super().__init__(module, criterion, optimizer, **options | kwargs)

    @property
    def classes_(self) -> np.ndarray:
        if self.classes is None:
            raise AttributeError("a regressor's net has no classes_")
        return self.classes

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "regressor" if self.classes is None else "classifier"
        return tags

    # --- skorch's set-up -----------------------------------------------------------------------------------------

    def get_default_callbacks(self) -> list:
        return []  # the loop itself records losses and time

    def _initialize_module(self, reason: str | None = None) -> "TrainingNet":
        with self._current_init_context("module"):
            return self.initialize_module()  # without moving it: the network is on its device already

    def initialize_module(self) -> "TrainingNet":
        self.module_ = self.module
        self.member_states_ = [MemberState() for _ in range(self.module.n_members)]
        self.member_history_ = {}
        return self

    def initialize_criterion(self) -> "TrainingNet":
        self.criterion_ = self.criterion
        return self

    def initialize_optimizer(self, triggered_directly: bool | None = None) -> "TrainingNet":
        self.optimizer_ = self.optimizer(self.module_)
        return self

    def initialize_untrained(self) -> "TrainingNet":
        """Initialize the net as if it had been fitted for no epochs."""
        self.initialize()
        self.stopped_by_ = None
        self.module_.eval()
        return self

    # --- The training loop ---------------------------------------------------------------------------------------

    def partial_fit(self, X: TrainingSet, y: None = None, classes: None = None, **fit_params: Any) -> "TrainingNet":
        """Train; unlike skorch's method, don't catch a KeyboardInterrupt before or after the epochs."""
        if not self.initialized_:
            self.initialize()
        self.notify("on_train_begin", X=X, y=y)
        self.fit_loop(X, y, **fit_params)
        self.notify("on_train_end", X=X, y=y)
        return self

    def fit_loop(self, X: TrainingSet, y: None = None, epochs: int | None = None, **kwargs: Any) -> "TrainingNet":
        self._begin(X)
        trained, n_before = list(range(self.module_.n_members)), len(self.history)
        datasets = X.datasets() if self.callbacks_ else {}
        n_epochs = self.plan.max_iter if epochs is None else epochs
        try:
            with progress_of(self.plan.verbose, self.module_.n_members, n_epochs) as progress:
                for _ in range(n_epochs):
                    self._train_epoch(datasets)
                    try:
                        self.notify("on_epoch_end", **datasets)
                    finally:  # also after an epoch in which a callback ends the training
                        progress.update(self._recorder.row)
                        any_trains = [run.stop_members(early=epochs is None) for run in self._training_runs()]
                    if not any(any_trains):
                        break
        except KeyboardInterrupt as interrupt:
            steps = self.rows_seen_ if any(self.rows_seen_) else self.optimizer_.steps
            trained = self._interrupted(interrupt, [m for m, n in enumerate(steps) if n])
        finally:
            self._end(n_before)
        self._keep_members(trained)
        return self

    def _begin(self, data: TrainingSet) -> None:
        """Make the recorder, and a run for each part of the network."""
        network, optimizer = self.module_, self.optimizer_
        optimizer.refresh()  # the network may have been moved since
        self.stopped_by_, self._held_out = None, data.valid_rows
        for state in self.member_states_:
            state.reset(LAST_FIT)
        data = data if data.part_tables else data.prepared_for(network)
        parts = zip(network.parts, optimizer.parts, network.members_of_parts(), data.of_parts(network), strict=True)
        self._recorder = EpochRecorder(self.history, self.member_history_)
        self._runs = [self._new_run(*part) for part in parts]

    def _new_run(
        self, network: EnsembleNetwork, optimizer: EnsembleOptimizer, members: slice, data: TrainingSet
    ) -> TrainingRun:
        plan, states = self.plan.of(members), self.member_states_[members]
        drops_members = network.can_shrink and not self.callbacks_
        run = TrainingRun(network, optimizer, plan, data, states, len(self.history), drops_members)
        run.batch_callbacks = [callback for _, callback in self.callbacks_ if watches_batches(callback)]
        if can_capture(network, optimizer, self.criterion_) and not (self.callbacks_ or plan.gradient_norm):
            run.graphs = CudaGraphSteps(network, optimizer, partial(self.train_step, run=run), run.count_step)
        return run

    def _interrupted(self, interrupt: KeyboardInterrupt, trained: list[int]) -> list[int]:
        """Record what ended the training, and return the members to keep; those in `trained` have taken a step.

        Members without a step would spoil the mean. If no member has taken one there is no model, so the user's
        interrupt is raised again.
        """
        self.stopped_by_ = "callback" if is_of_callback(interrupt) else "user"
        if not trained and self.stopped_by_ == "user":
            raise interrupt
        return trained or list(range(self.module_.n_members))

    def _train_epoch(self, datasets: dict[str, Any]) -> None:
        recorder, started = self._recorder, time.perf_counter()
        self.notify("on_epoch_begin", **datasets)
        recorder.begin()
        if self.callbacks_:
            self.optimizer_.refresh()  # a callback may have frozen parameters
        training = self._training_runs()
        self._record_learning_rates(training)
        with self.module_.compute_context(self.plan.batch_size):
            for run in training:
                self.run_single_epoch(run, True, "train", self.train_step)
                self.run_single_epoch(run, False, "valid", self.validation_step)
                run.finish_epoch()
        self._record_values()
        recorder.finish(time.perf_counter() - started)

    def run_single_epoch(
        self, iterator: TrainingRun, training: bool, prefix: str, step_fn: Callable, **fit_params: Any
    ) -> None:
        """Train the active members of a part on their training rows, or evaluate their validation rows."""
        run = iterator
        if not training and not run.data.valid_rows:
            return
        run.network.train(training)
        outputs = Outputs(run.data.table)
        step_fn = partial(step_fn, run=run)
        if run.batch_callbacks:
            step_fn = partial(self._step_with_callbacks, step_fn, run=run, prefix=prefix)
        with torch.inference_mode():
            (self._train if training else self._validate)(run, step_fn, outputs)
            self._measure(run, outputs, prefix)

    def _train(self, run: TrainingRun, step_fn: Callable, outputs: Outputs) -> None:
        """Take one step for each batch of the training rows."""
        sizes = [run.n_rows[member] for member in run.active]
        losses = BatchLosses(sizes, self.plan.batch_size, run.network.param_buffer)
        for chunk in run.chunks():
            steps = run.graphs.take(chunk) if run.graphs else [step_fn(batch) for batch in chunk.batches()]
            z = chunk.joined([step["y_pred"] for step in steps])
            losses.add(chunk, z, steps, self.criterion_)
            if self.plan.metrics:
                outputs.add(chunk.members, chunk.by_member(z), chunk.by_member(chunk.rows))
        self._recorder.count(train_batch_count=losses.n_steps, rows=sum(sizes))
        run.values |= losses.means()

    def _validate(self, run: TrainingRun, step_fn: Callable, outputs: Outputs) -> None:
        """Compute the outputs of the validation rows."""
        for batch in run.validation_batches():
            outputs.add(batch.members, step_fn(batch)["y_pred"], batch.rows)
        self._recorder.count(valid_batch_count=len(outputs.pieces))

    def _measure(self, run: TrainingRun, outputs: Outputs, prefix: str) -> None:
        """Compute the metrics of the collected outputs and, for validation rows, the loss and the watched score."""
        metrics = {f"{prefix}_{name}": of_members for name, of_members in run.plan.metrics.items()}
        values: dict[str, list[Tensor]] = {}
        if prefix == "valid" and run.plan.stopping_scores:
            metrics["valid_score"] = run.plan.stopping_scores
        for members, z, y, weight in outputs.joined() if metrics or prefix == "valid" else []:
            if prefix == "valid":
                values.setdefault("valid_loss", []).append(weighted_mean(self.criterion_.rows(z, y), weight))
            p = self.criterion_.link(z) if metrics else z
            for name, of_members in metrics.items():
                functions = [of_members[m] for m in run.active[members]]
                values.setdefault(name, []).extend(
                    functions[same.start](p[same], y[same], None if weight is None else weight[same])
                    for same in equal_runs(functions)
                )
        run.values |= {name: torch.cat(parts) for name, parts in values.items()}

    def train_step(
        self, batch: Batch, step_scalars: list[Any] | None = None, *, run: TrainingRun, **fit_params: Any
    ) -> dict[str, Any]:
        """Compute the gradients of some members, on a batch each, and update their parameters.

        `step_scalars` holds the results of `count_step` for each step group, if they were computed beforehand.
        """
        network, optimizer, gradient = run.network, run.optimizer, self.criterion_.gradient
        z = network.gradients(
            batch.inputs, batch.noise, lambda z: gradient(z, batch.target).mul_(batch.scale), batch.members
        )
        squares = optimizer.add_l2_gradient(batch.inverse_weight, batch.members)
        norm = network.grad_buffer[batch.members].norm(dim=1) if self.plan.gradient_norm else None
        optimizer.clip(batch.members)
        if run.batch_callbacks:
            self.notify("on_grad_computed", named_parameters=list(self.module_.named_parameters()), batch=batch)
        for i, group in enumerate(batch.step_groups):
            optimizer.apply(group, *(run.count_step(group, batch) if step_scalars is None else step_scalars[i]))
        return {"y_pred": z, "squares": squares, "gradient_norm": norm}

    def validation_step(self, batch: Batch, *, run: TrainingRun, **fit_params: Any) -> dict[str, Any]:
        return {"y_pred": run.network.outputs(batch.inputs, batch.members)}

    def _step_with_callbacks(
        self, step_fn: Callable, batch: Batch, *step_scalars: Any, run: TrainingRun, prefix: str
    ) -> dict[str, Any]:
        """Take a step, and call the callbacks that watch batches."""
        data, index, training = run.data, batch.rows.flatten(), prefix == "train"
        pair = EncodedRows(data.table, index), data.labels(data.table.target[index])
        self.notify("on_batch_begin", batch=pair, training=training)
        step = step_fn(batch, *step_scalars)
        loss = self.criterion_.rows(step["y_pred"], batch.target).mean()
        self.history.record_batch(f"{prefix}_loss", loss.item())
        self.history.record_batch(f"{prefix}_batch_size", len(index))
        self.notify("on_batch_end", batch=pair, training=training, loss=loss, y_pred=step["y_pred"])
        return step

    def _training_runs(self) -> list[TrainingRun]:
        """Return the runs that have a member that still trains."""
        return [run for run in self._runs if run.training_members()]

    def _record_learning_rates(self, training: list[TrainingRun]) -> None:
        """Record the learning rates with which an epoch begins."""
        for run in training:
            run.set_learning_rates()
        member = training[0].training_members()[0][1]
        rates = [rate for run in self._runs for rate in run.learning_rates]
        self._recorder.write_learning_rates(rates, training[0].learning_rates[member])

    def _record_values(self) -> None:
        """Record the latest values of all members."""
        for name in self._runs[0].latest:
            self._recorder.write(name, [value for run in self._runs for value in run.latest[name]])

    def _end(self, n_before: int) -> None:
        """Put the final parameters into the network, and drop what only the training needed.

        `n_before` is the number of epochs of earlier fits.
        """
        self._recorder.drop_unfinished()
        for run in self._runs:
            run.finish(len(self.history) - n_before)
        if self.diverged_members_:  # the solver's moments have diverged, too
            self.__dict__.pop("optimizer_", None)
        self.module_.eval()
        self.module_.release()
        del self._runs, self._recorder
