"""The training loop: members x batches, inside a skorch net.

`TrainingNet` keeps skorch's ladder of verbs, its history and its callbacks, and replaces what costs: the per-row
dataset, the loader, and a synchronisation and a history record per batch.  Its `fit_loop` reads

    for each epoch:  run_single_epoch (train)  ->  run_single_epoch (validate)  ->  record  ->  callbacks  ->  stop?
"""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from torch import Tensor

from sknn.network.base import EnsembleNetwork
from sknn.network.losses import Loss
from sknn.network.metrics import weighted_mean
from sknn.network.optimizers import EnsembleOptimizer
from sknn.network.schedules import SCHEDULES, invscaling
from sknn.training.batches import (
    VALIDATION_ROWS,
    Batch,
    Block,
    Chunk,
    Outputs,
    epoch_blocks,
    epoch_chunks,
    equal_runs,
    validation_blocks,
)
from sknn.training.callbacks import is_of_callback, watches_batches
from sknn.training.cuda_graphs import STEPS_AT_ONCE, CudaGraphSteps, can_capture
from sknn.training.dropout import DropoutNoise
from sknn.training.plan import Plan, Progress, TrainingSet
from sknn.training.prediction import NetPrediction
from sknn.training.progress import progress_of
from sknn.training.resume import ResumableTraining
from sknn.training.table import EncodedRows
from sknn.utils.random import member_bit_generator, member_generator

CAPTURED_VALUES = 1 << 24  # gathered at once for a recording: a GPU has no cache to stay in


class TrainingNet(ResumableTraining, NetPrediction, NeuralNet):
    """A skorch net over all members of one estimator.

    Callbacks see the members as one net: losses are means over members, `predict` averages them, and of rows that were
    held out each is predicted by the members that held it out.

    Parameters
    ----------
    module : EnsembleNetwork
    criterion : Loss
    optimizer : callable
        Makes the solver from the network.
    plan : Plan
    classes : ndarray or None
        Codes of the classes, for scikit-learn's scorers; None for a regressor.

    Attributes
    ----------
    progress_ : Progress
    epochs_ : list of int
        Epochs that each member took in the last fit.
    rows_seen_ : list of int
        Rows that each member has trained on, over all fits.
    stopped_by_ : {None, 'user', 'callback'}
        Who ended the last fit before its time, if not a member's own early stop.
    unconverged_members_ : list of int
        Members that were still improving when the last fit came to its end.
    diverged_members_ : dict of int to int
        Members whose loss became NaN or infinite, and the epoch in which it did.
    failed_members_ : list of int
        Those of them that had no good epoch before.
    """

    epochs_: list[int]
    stopped_by_: str | None
    diverged_members_: dict[int, int]
    failed_members_: list[int]
    unconverged_members_: list[int]
    _row: dict[str, Any]  # the epoch's record in the history
    _smallest: dict[str, float]  # of each loss
    _norms: Tensor | None  # of the gradients of each member's batches, if they are asked for
    _chunks_of: tuple[list[int], list[list[Block]]]  # the members' numbers of rows, and what `_chunks` made of them

    def __init__(
        self,
        module: EnsembleNetwork,
        criterion: Loss,
        optimizer: Callable[[EnsembleNetwork], EnsembleOptimizer],
        plan: Plan,
        classes: np.ndarray | None = None,
        **kwargs: Any,
    ) -> None:
        self.plan, self.classes, self.keeps_optimizer = plan, classes, False
        own: dict[str, Any] = {"max_epochs": plan.max_iter, "batch_size": plan.batch_size}
        own |= {"train_split": None, "use_caching": False, "verbose": 0}
        super().__init__(module, criterion, optimizer, **own | kwargs)

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
        self.progress_ = Progress(self.module.n_members)
        self.rows_seen_ = [0] * self.module.n_members
        self.members_: dict[int, dict[str, list[float]]] = {}
        return self

    def initialize_criterion(self) -> "TrainingNet":
        self.criterion_ = self.criterion
        return self

    def initialize_optimizer(self, triggered_directly: bool | None = None) -> "TrainingNet":
        self.optimizer_ = self.optimizer(self.module_)
        return self

    def initialize_untrained(self) -> "TrainingNet":
        """As after a fit of no epochs."""
        self.initialize()
        n = self.module_.n_members
        self.epochs_, self.stopped_by_, self.diverged_members_, self.failed_members_, self.unconverged_members_ = (
            [0] * n,
            None,
            {},
            [],
            [],
        )
        self.module_.eval()
        return self

    # --- The ladder ----------------------------------------------------------------------------------------------

    def partial_fit(self, X: TrainingSet, y: None = None, classes: None = None, **fit_params: Any) -> "TrainingNet":
        """Train; skorch's own swallows an interrupt that comes before or after the epochs."""
        if not self.initialized_:
            self.initialize()
        self.notify("on_train_begin", X=X, y=y)
        self.fit_loop(X, y, **fit_params)
        self.notify("on_train_end", X=X, y=y)
        return self

    def fit_loop(self, X: TrainingSet, y: None = None, epochs: int | None = None, **kwargs: Any) -> "TrainingNet":
        data, trained = X, list(range(self.module_.n_members))
        self._begin(data)
        datasets = data.datasets() if self.callbacks_ else {}
        most = self.plan.max_iter if epochs is None else epochs
        try:
            with progress_of(self.plan.verbose, self.module_.n_members, most) as progress:
                for _ in range(most):
                    self._train_epoch(data, datasets)
                    try:
                        self.notify("on_epoch_end", **datasets)
                    finally:  # also after an epoch with which a callback ends the training
                        progress.update(self._row)
                        goes_on = self._retire_members(stops=epochs is None)
                    if not goes_on:
                        break
        except KeyboardInterrupt as interrupt:
            steps = self.rows_seen_ if any(self.rows_seen_) else self.optimizer_.steps
            trained = self._interrupted(interrupt, [m for m, n in enumerate(steps) if n])
        finally:
            self._end()
        self._keep(trained)
        return self

    def _interrupted(self, interrupt: KeyboardInterrupt, trained: list[int]) -> list[int]:
        """Note who ended the training, given the members that have ever taken a step; return those to keep.

        Members without a step would spoil the mean.  Where no member has taken one, there is no model, and the user's
        interrupt goes on to whoever called `fit`.
        """
        self.stopped_by_ = "callback" if is_of_callback(interrupt) else "user"
        if not trained and self.stopped_by_ == "user":
            raise interrupt
        return trained or list(range(self.module_.n_members))

    def _train_epoch(self, data: TrainingSet, datasets: dict[str, Any]) -> None:
        started = time.perf_counter()
        self.notify("on_epoch_begin", **datasets)
        self._row = list.__getitem__(self.history, -1)  # skorch's own indexing copies the whole history
        if self.callbacks_:
            self.optimizer_.refresh()  # one of them may have frozen something
        self._record_rates()
        with self.module_.computing(self.plan.batch_size):
            self.run_single_epoch(data, True, "train", self.train_step)
            self.run_single_epoch(data, False, "valid", self.validation_step)
        self._record_epoch(time.perf_counter() - started)

    def run_single_epoch(
        self, iterator: TrainingSet, training: bool, prefix: str, step_fn: Callable, **fit_params: Any
    ) -> None:
        """Take every active member through its training rows, or its validation rows."""
        data = iterator
        if not training and not data.valid_rows:
            return
        self.module_.train(training)
        outputs = Outputs(data.table)
        with torch.inference_mode():
            if training:
                self._values["train_loss"] = self._train(data, self._ordered(data), step_fn, outputs)
            else:
                self._validate(data, [data.valid_rows[m] for m in self.active_], step_fn, outputs)
            self._measure(outputs, prefix)

    def _measure(self, outputs: Outputs, prefix: str) -> None:
        """The metrics of the collected outputs and, of validation rows, what is watched and the loss."""
        metrics = {f"{prefix}_{name}": each for name, each in self.plan.metrics.items()}
        values: dict[str, list[Tensor]] = {}
        if prefix == "valid" and self.plan.watch:
            metrics["valid_score"] = self.plan.watch
        for members, z, y, weight in outputs.joined() if metrics or prefix == "valid" else []:
            if prefix == "valid":
                values.setdefault("valid_loss", []).append(weighted_mean(self.criterion_.rows(z, y), weight))
            p = self.criterion_.link(z) if metrics else z
            for name, each in metrics.items():
                own = [each[m] for m in self.active_[members]]
                values.setdefault(name, []).extend(
                    own[run.start](p[run], y[run], None if weight is None else weight[run]) for run in equal_runs(own)
                )
        self._values |= {name: torch.cat(parts) for name, parts in values.items()}

    def _train(self, data: TrainingSet, rows: list[Tensor], step_fn: Callable, outputs: Outputs) -> Tensor:
        """One pass over each member's rows in the given order; return the members' losses."""
        sizes, count = [r.shape[0] for r in rows], 0
        losses = self._zeros(len(rows), -(-max(sizes) // self.plan.batch_size))  # of each member's batches
        self._norms, n_batches = torch.zeros_like(losses) if self.plan.gradient_norm else None, [0] * len(rows)
        take = partial(self._observed, step_fn, data, prefix="train") if self._observers else step_fn
        for blocks in self._chunks(sizes, data):
            chunk = Chunk(data.table, rows, blocks, blocks[0].runs(sizes), self._noise, self._smoothing)
            steps = self._captured.take(chunk) if self._captured else [take(batch) for batch in chunk.batches()]
            z = chunk.joined([step["y_pred"] for step in steps])
            totals = chunk.totals_of(self.criterion_.rows(z[None], chunk.target[None])[0])
            if steps[0]["squares"] is not None:
                totals += chunk.penalties_of(torch.stack([step["squares"] for step in steps]))
            first = blocks[0].start // self.plan.batch_size
            losses[chunk.members, first : first + chunk.n_batches] = totals.T
            if self.plan.metrics:
                outputs.add(chunk.members, chunk.by_member(z), chunk.by_member(chunk.rows))
            count += chunk.n_batches
            for k in range(*chunk.members.indices(len(rows))):
                n_batches[k] += chunk.n_batches
        self._row |= {"train_batch_count": count, "rows": sum(sizes)}
        if self._norms is not None:
            self._values["gradient_norm"] = self._norms.cumsum(1)[:, -1] / losses.new_tensor(n_batches)
        # Summed one after another, for the last bits of other sums depend on where the chunks begin.
        return losses.cumsum(1)[:, -1] / losses.new_tensor(sizes)

    def _chunks(self, sizes: list[int], data: TrainingSet) -> list[list[Block]]:
        """How members with so many rows go through an epoch; worked out when a member has left."""
        if self._chunks_of[0] != sizes:
            blocks = epoch_blocks(sizes, self.plan.batch_size, self.plan.join_last_row)
            at_once = {} if self._captured is None else {"values": CAPTURED_VALUES, "batches": STEPS_AT_ONCE}
            self._chunks_of = sizes, epoch_chunks(blocks, self._row_width(data), **at_once)
        return self._chunks_of[1]

    def _validate(self, data: TrainingSet, rows: list[Tensor], step_fn: Callable, outputs: Outputs) -> None:
        count = 0
        take = partial(self._observed, step_fn, data, prefix="valid") if self._observers else step_fn
        for members, start in validation_blocks([len(r) for r in rows]):
            chosen = torch.stack([r[start : start + VALIDATION_ROWS] for r in rows[members]])
            inputs, target = data.table.inputs(chosen), data.table.target[chosen]
            batch = Batch(members, [members], chosen, inputs, target, [], 1.0, 1.0, start)
            outputs.add(members, take(batch)["y_pred"], chosen)
            count += 1
        self._row["valid_batch_count"] = count

    def train_step(self, batch: Batch, step_scalars: list[Any] | None = None, **fit_params: Any) -> dict[str, Any]:
        """Forward, backward, and a move of the weights: of some members, on a batch of each.

        `numeric` are those of the step for each run of members, where they have been counted beforehand.
        """
        gradient, optimizer = self.criterion_.gradient, self.optimizer_
        z = self.module_.gradients(
            batch.inputs, batch.noise, lambda z: gradient(z, batch.target).mul_(batch.scale), batch.members
        )
        squares = optimizer.add_l2_gradient(batch.per_weight, batch.members)
        if self._norms is not None:
            norms = self.module_.grad_buffer[batch.members].norm(dim=1)
            self._norms[batch.members, batch.start // self.plan.batch_size] = norms
        optimizer.clip(batch.members)
        if self._observers:
            self.notify("on_grad_computed", named_parameters=list(self.module_.named_parameters()), batch=batch)
        for i, run in enumerate(batch.runs):
            optimizer.apply(run, *(self._count(run, batch) if step_scalars is None else step_scalars[i]))
        return {"y_pred": z, "squares": squares}

    def _count(self, run: slice, batch: Batch) -> tuple[float, float]:
        """Count a step of these members; return its numbers, by the schedule's place in the epoch."""
        if self._by_share is not None:
            epoch = self._epochs_done + batch.start / self._sizes[self.active_[run.start]]
            self.optimizer_.schedule(self._by_share(epoch / self.plan.max_iter))
        return self.optimizer_.count(run)

    def validation_step(self, batch: Batch, **fit_params: Any) -> dict[str, Any]:
        return {"y_pred": self.module_.outputs(batch.inputs, batch.members)}

    # --- What frames an epoch -----------------------------------------------------------------------------------------

    def _begin(self, data: TrainingSet) -> None:
        plan, n = self.plan, self.module_.n_members
        self.optimizer_.refresh()  # the network may have been moved since
        device, start = self.module_.param_buffer.device, len(self.history)
        self.active_ = list(range(n))
        self.epochs_, self.stopped_by_, self.diverged_members_ = [0] * n, None, {}
        if start:  # weights to fall back on, should the loss become NaN at once
            self.progress_.best_rows = [row.clone() for row in self.module_.param_buffer]
        self._final: list[Tensor | None] = [None] * n
        self._values: dict[str, Tensor] = {}
        self._chunks_of = [], []
        self._by_share, self._epochs_done = SCHEDULES[plan.schedule].by_share, 0
        self._last: dict[str, list[float]] = {}
        self._rates = [np.nan] * n
        self._smallest = {}
        self._sizes = [len(r) for r in data.train_rows]
        self._held_out = data.valid_rows
        rates = list(zip(*plan.dropout, strict=True)) if plan.dropout else []
        noisy: list[tuple[int, Sequence[float]]] = [(width, [rate] * n) for width, rate in self.module_.level_dropout()]
        noisy += zip([width for width, _ in self.module_.dropout_rates()], rates, strict=True)
        # Candidates of a search have the same seeds, and with equal numbers of rows they draw the same at once.
        keys = list(zip(plan.seeds, self._sizes, strict=True))
        orders = {key: member_generator(*key[0], "order", device, start) for key in dict.fromkeys(keys)}
        noises = {key: member_bit_generator(*key[0], "dropout", device, start) for key in orders}
        self._orders = [orders[key] for key in keys]
        self._noise = DropoutNoise(noisy, [noises[key] for key in keys], device)
        self._smoothing = (
            self.module_.param_buffer.new_tensor(plan.label_smoothing) if any(plan.label_smoothing) else None
        )
        self._captured = None
        is_watched = self.callbacks_ or plan.gradient_norm
        if can_capture(self.module_, self.optimizer_, self.criterion_) and not is_watched:
            self._captured = CudaGraphSteps(self.module_, self.optimizer_, self.train_step, self._count)
        self._observers = [callback for _, callback in self.callbacks_ if watches_batches(callback)]

    def _ordered(self, data: TrainingSet) -> list[Tensor]:
        """The active members' training rows, each in the order of its own stream."""
        rows = [data.train_rows[m] for m in self.active_]
        if not self.plan.shuffle:
            return rows
        streams = [self._orders[m] for m in self.active_]
        orders = {
            g: torch.randperm(r.shape[0], generator=g, device=g.device).to(r.device)
            for g, r in dict(zip(streams, rows, strict=True)).items()
        }
        return [r[orders[g]] for g, r in zip(streams, rows, strict=True)]

    def _record_rates(self) -> None:
        """Note the learning rates with which an epoch begins."""
        if self._by_share is not None:
            self.optimizer_.schedule(self._by_share(self._epochs_done / self.plan.max_iter))
        running = self._running()
        for k, m in running:
            self._rates[m] = self.optimizer_.rate_of(k)
        self._row["learning_rate"] = self._rates[running[0][1]]
        if len(self._sizes) > 1:
            self._members_of_epoch()["member_learning_rate"] = list(self._rates)

    def _record_epoch(self, seconds: float) -> None:
        """Bring the epoch's numbers to the host in one go, note them, and judge each member by them."""
        names = list(self._values)
        numbers = torch.stack([self._values[name].to(torch.float64) for name in names]).tolist()
        for name, values in zip(names, numbers, strict=True):
            last = self._last.setdefault(name, [np.nan] * len(self._sizes))
            for k, m in self._running():
                last[m] = values[k]
            self._record_mean(name, last)
        if not self._row["batches"]:
            self.history.new_batch()  # skorch's Checkpoint formats file names with the last one
        for k, m in self._running():
            self.epochs_[m] += 1
            self.rows_seen_[m] += self._sizes[m]
            score = self._last["valid_score"][m] if "valid_score" in self._last else -self._watched_loss()[m]
            if math.isfinite(self._last["train_loss"][m]):
                self.progress_.update(m, score, self.plan.tol[m], self.module_.param_buffer[k], len(self.history))
        self._epochs_done += 1
        self._row["dur"] = seconds  # the last entry: a record without it is of an epoch that was interrupted

    def _watched_loss(self) -> list[float]:
        return self._last["valid_loss" if "valid_loss" in self._last else "train_loss"]

    def _record_mean(self, name: str, values: list[float]) -> None:
        mean = sum(values) / len(values)
        if name.endswith("_loss"):
            self._row[f"{name}_best"] = mean < self._smallest.get(name, np.inf)
            self._smallest[name] = min(mean, self._smallest.get(name, np.inf))
        self._row[name] = mean
        if len(values) > 1:
            self._members_of_epoch()[f"member_{name}"] = list(values)

    def _members_of_epoch(self) -> dict[str, list[float]]:
        return self.members_.setdefault(len(self.history), {})

    def _retire_members(self, stops: bool) -> bool:
        """End the training of members that diverged or (if that `stops` them) no longer improve.

        Return whether any goes on.
        """
        plan, schedule, optimizer = self.plan, SCHEDULES[self.plan.schedule], self.optimizer_
        multipliers = list(optimizer.multipliers)
        for k, m in self._running():
            if plan.schedule == "invscaling":
                multipliers[k] = invscaling(self.rows_seen_[m], plan.power_t)
            if not math.isfinite(self._last["train_loss"][m]):
                self.diverged_members_[m] = len(self.history)
                self._final[m] = self.progress_.best_rows[m]
            elif self.progress_.epochs_without_improvement[m] > plan.n_iter_no_change[m]:
                self.progress_.epochs_without_improvement[m] = 0
                if schedule.plateau_divisor is not None and optimizer.rate_of(k) > schedule.smallest:
                    multipliers[k] /= schedule.plateau_divisor
                elif stops:
                    self._final[m] = self._result(k, m)
        if multipliers != optimizer.multipliers:
            optimizer.set_multipliers(multipliers)
        going_on = [k for k, m in self._running()]
        if going_on and len(going_on) < len(self.active_):
            self._leave_out(going_on)
        return bool(going_on)

    def _leave_out(self, going_on: list[int]) -> None:
        """Go on with some members: without the others, or, where callbacks look on, with the others at rest."""
        if self.module_.can_shrink and not self.callbacks_:
            self._staying = [self.active_[k] for k in going_on]
            for part in (self.module_, self.optimizer_, self._noise):
                part.select(going_on)
            if self._smoothing is not None:
                self._smoothing = self._smoothing[going_on]
            self.active_ = self._staying
            return
        for k, m in enumerate(self.active_):
            if k not in going_on and (row := self._final[m]) is not None:
                self.module_.load_row(k, row)
        resting = [rate if k in going_on else 0.0 for k, rate in enumerate(self.optimizer_.multipliers)]
        self.optimizer_.set_multipliers(resting)

    def _running(self) -> list[tuple[int, int]]:
        """Place in the network, and number, of each member whose training has not ended."""
        return [
            (k, m) for k, m in enumerate(self.active_) if self._final[m] is None and m not in self.diverged_members_
        ]

    def _result(self, k: int, m: int) -> Tensor:
        best = self.progress_.best_rows[m]
        return best if self.plan.restore_best and best is not None else self.module_.param_buffer[k].detach().clone()

    def _end(self) -> None:
        """Put every member's final weights back into the network, and drop what only the training needed."""
        self._forget_unfinished_epoch()
        self.epochs_ = [min(n, self._epochs_done) for n in self.epochs_]
        if self.module_.n_members < len(self.active_):  # an interrupt came while members left
            self.active_ = self._staying
        still_running = self._running()
        self.unconverged_members_ = [m for _, m in still_running]
        for k, m in still_running:
            self._final[m] = self._result(k, m)
        self.failed_members_ = [m for m, row in enumerate(self._final) if row is None]
        if self.plan.restore_best or self.diverged_members_ or len(self.active_) < len(self._final):
            nothing = torch.full_like(self.module_.param_buffer[0], torch.nan)
            self.module_.bind_views(torch.stack([nothing if row is None else row for row in self._final]))
        if self.diverged_members_:  # and with it the solver's means of the gradient
            self.__dict__.pop("optimizer_", None)
        self.module_.eval()
        self.progress_.best_rows = [None] * len(self._final)
        self.module_.release()
        for name in (
            "_final",
            "_staying",
            "_values",
            "_norms",
            "_chunks_of",
            "_row",
            "_by_share",
            "_captured",
            "_smallest",
            "_orders",
            "_rates",
            "_noise",
            "_smoothing",
        ):
            self.__dict__.pop(name, None)

    def _forget_unfinished_epoch(self) -> None:
        """Drop the record of an epoch that was interrupted, which may be half written."""
        if self.history and "dur" not in list.__getitem__(self.history, -1):
            self.members_.pop(len(self.history), None)
            self.history.pop()

    def _zeros(self, *shape: int) -> Tensor:
        return self.module_.param_buffer.new_zeros(shape)

    def _row_width(self, data: TrainingSet) -> int:
        noisy = (*self.module_.level_dropout(), *self.module_.dropout_rates())
        return data.table.width + data.table.target.shape[1] + sum(width for width, _ in noisy)

    # --- What callbacks see -------------------------------------------------------------------------------------------

    def _observed(self, step_fn: Callable, data: TrainingSet, batch: Batch, *, prefix: str, **kwargs: Any) -> dict:
        """Take a step, and tell the callbacks about the batch."""
        index = batch.rows.flatten()
        pair = EncodedRows(data.table, index), data.labels(data.table.target[index])
        training = prefix == "train"
        self.notify("on_batch_begin", batch=pair, training=training)
        step = step_fn(batch, **kwargs)
        loss = self.criterion_.rows(step["y_pred"], batch.target).mean()
        self.history.record_batch(f"{prefix}_loss", loss.item())
        self.history.record_batch(f"{prefix}_batch_size", len(index))
        self.notify("on_batch_end", batch=pair, training=training, loss=loss, y_pred=step["y_pred"])
        return step
