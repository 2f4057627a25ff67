"""The state of a training in progress, of the members in one part of a network."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from sknn.network.base import EnsembleNetwork
from sknn.network.optimizers import EnsembleOptimizer
from sknn.network.schedules import SCHEDULES, invscaling
from sknn.training.batches import Batch, Chunk
from sknn.training.blocks import VALIDATION_ROWS, Block, epoch_blocks, epoch_chunks, validation_blocks
from sknn.training.cuda_graphs import STEPS_AT_ONCE, CudaGraphSteps
from sknn.training.dropout import DropoutNoise
from sknn.training.members import MemberState
from sknn.training.plan import Plan, TrainingSet
from sknn.utils.random import member_bit_generator, member_generator

CAPTURED_VALUES = 1 << 24  # gathered at once for a CUDA graph; on a CPU a chunk has to fit into the cache


class TrainingRun:
    """What the training of some members needs from its first epoch to its last.

    `TrainingNet.fit_loop` makes a run for each part of its network, and drops them.

    Parameters
    ----------
    network : EnsembleNetwork
    optimizer : EnsembleOptimizer
    plan : Plan
    data : TrainingSet
    states : list of MemberState
        Updated after each epoch.
    first_epoch : int
        The number of epochs of earlier fits.
    drops_members : bool
        Whether members leave the network when their training ends. If there are callbacks, all members stay, with a
        learning rate of 0.

    Attributes
    ----------
    active : list of int
        The member in each row of the network's parameter buffer.
    best_params, final_params : list of Tensor or None
        Each member's parameters in its best epoch so far, and those that it ends with (None while it trains).
    values : dict of str to Tensor
        The present epoch's loss and metrics, a number for each active member.
    latest : dict of str to list of float
        Each member's last such values.
    graphs : CudaGraphSteps or None
        Takes the steps, if they are captured.
    batch_callbacks : list of Callback
        Those that are called at every batch.
    """

    def __init__(
        self,
        network: EnsembleNetwork,
        optimizer: EnsembleOptimizer,
        plan: Plan,
        data: TrainingSet,
        states: list[MemberState],
        first_epoch: int,
        drops_members: bool,
    ) -> None:
        n = network.n_members
        self.first_epoch = first_epoch
        self.network, self.optimizer, self.plan, self.data = network, optimizer, plan, data
        self.states, self.drops_members = states, drops_members
        self.schedule = SCHEDULES[plan.schedule]
        self.active = list(range(n))
        self.epochs_done = 0
        self.n_rows = [len(rows) for rows in data.train_rows]
        self.values: dict[str, Tensor] = {}
        self.latest: dict[str, list[float]] = {}
        self.learning_rates = [math.nan] * n
        self.final_params: list[Tensor | None] = [None] * n
        self.best_params: list[Tensor | None] = [None] * n
        if first_epoch:  # parameters to go back to if the loss becomes NaN at once
            self.best_params = [row.clone() for row in network.param_buffer]
        self.graphs: CudaGraphSteps | None = None
        self.batch_callbacks: list = []
        self._next_active = self.active  # the new `active` while stopped members are dropped
        self._chunks_of: tuple[list[int], list[list[Block]]] = [], []  # a cache: numbers of rows, and their chunks
        self._smoothing = network.param_buffer.new_tensor(plan.label_smoothing) if any(plan.label_smoothing) else None
        self._make_generators(first_epoch)

    def _make_generators(self, first_epoch: int) -> None:
        """Make the generators of row order and dropout.

        Members with equal seed and number of rows (candidates of a search) share a generator.
        """
        plan, network, device = self.plan, self.network, self.network.param_buffer.device
        n = network.n_members
        rates = list(zip(*plan.dropout, strict=True)) if plan.dropout else []
        layers: list[tuple[int, Sequence[float]]] = [(width, [rate] * n) for width, rate in network.category_dropout()]
        layers += zip([width for width, _ in network.dropout_rates()], rates, strict=True)
        keys = list(zip(plan.seeds, self.n_rows, strict=True))
        orders = {key: member_generator(*key[0], "order", device, first_epoch) for key in dict.fromkeys(keys)}
        noises = {key: member_bit_generator(*key[0], "dropout", device, first_epoch) for key in orders}
        self._orders = [orders[key] for key in keys]
        self._dropout = DropoutNoise(layers, [noises[key] for key in keys], device)

    # --- Rows -----------------------------------------------------------------------------------------------------

    def ordered_rows(self) -> list[Tensor]:
        """Return the training rows of each active member in the order of this epoch."""
        rows = [self.data.train_rows[m] for m in self.active]
        if not self.plan.shuffle:
            return rows
        generators = [self._orders[m] for m in self.active]
        orders = {
            generator: torch.randperm(len(r), generator=generator, device=generator.device).to(r.device)
            for generator, r in dict(zip(generators, rows, strict=True)).items()
        }
        return [r[orders[generator]] for generator, r in zip(generators, rows, strict=True)]

    def chunks(self) -> Iterator[Chunk]:
        """Return the batches of an epoch, gathered in chunks."""
        rows = self.ordered_rows()
        sizes = [len(r) for r in rows]
        for blocks in self._blocks(sizes):
            groups = blocks[0].step_groups(sizes)
            yield Chunk(self.data.table, rows, blocks, groups, self._dropout, self._smoothing)

    def _blocks(self, sizes: list[int]) -> list[list[Block]]:
        """Return the blocks of each chunk; they are made anew when a member has left."""
        if self._chunks_of[0] != sizes:
            blocks = epoch_blocks(sizes, self.plan.batch_size, self.network.normalises_batches)
            limits = {} if self.graphs is None else {"values": CAPTURED_VALUES, "batches": STEPS_AT_ONCE}
            self._chunks_of = sizes, epoch_chunks(blocks, self._row_width(), **limits)
        return self._chunks_of[1]

    def _row_width(self) -> int:
        """Return how many values are gathered for a row."""
        dropped = (*self.network.category_dropout(), *self.network.dropout_rates())
        table = self.data.table
        return table.width + table.target.shape[1] + sum(width for width, _ in dropped)

    def validation_batches(self) -> Iterator[Batch]:
        """Return the validation rows of the active members in batches."""
        table, rows = self.data.table, [self.data.valid_rows[m] for m in self.active]
        for members, start in validation_blocks([len(r) for r in rows]):
            chosen = torch.stack([r[start : start + VALIDATION_ROWS] for r in rows[members]])
            yield Batch(members, [members], chosen, table.inputs(chosen), table.target[chosen], [], 1.0, 1.0, start)

    # --- Learning rates -------------------------------------------------------------------------------------------

    def set_learning_rates(self) -> None:
        """Set the schedule's factor at the beginning of an epoch, and note the members' learning rates."""
        if self.schedule.by_progress is not None:
            self.optimizer.schedule_factor = self.schedule.by_progress(self.epochs_done / self.plan.max_iter)
        for row, member in self.training_members():
            self.learning_rates[member] = self.optimizer.learning_rate(row)

    def count_step(self, group: slice, batch: Batch) -> tuple[float, float]:
        """Set the schedule factor for this batch, count a step of some members, and return its scalars."""
        if self.schedule.by_progress is not None:
            epoch = self.epochs_done + batch.start / self.n_rows[self.active[group.start]]
            self.optimizer.schedule_factor = self.schedule.by_progress(epoch / self.plan.max_iter)
        return self.optimizer.count_step(group)

    # --- Members --------------------------------------------------------------------------------------------------

    def training_members(self) -> list[tuple[int, int]]:
        """Return (buffer row, member) of each member that still trains."""
        return [
            (row, member)
            for row, member in enumerate(self.active)
            if self.final_params[member] is None and self.states[member].diverged_in is None
        ]

    def finish_epoch(self) -> None:
        """Copy the epoch's values to the CPU at once, and update each member's state."""
        self.epochs_done += 1
        names, training = list(self.values), self.training_members()
        values = torch.stack([self.values[name].to(torch.float64) for name in names]).tolist()
        for name, of_rows in zip(names, values, strict=True):
            latest = self.latest.setdefault(name, [math.nan] * len(self.states))
            for row, member in training:
                latest[member] = of_rows[row]
        for row, member in training:
            state = self.states[member]
            state.epochs += 1
            state.rows_seen += self.n_rows[member]
            if not math.isfinite(self.latest["train_loss"][member]):
                continue
            if state.update(self._score(member), self.plan.tol[member], self.epoch):
                self.best_params[member] = self.network.param_buffer[row].clone()

    @property
    def epoch(self) -> int:
        """The number of the last epoch, over all fits."""
        return self.first_epoch + self.epochs_done

    def _score(self, member: int) -> float:
        """Return what early stopping watches, larger being better."""
        if "valid_score" in self.latest:
            return self.latest["valid_score"][member]
        return -self.latest["valid_loss" if "valid_loss" in self.latest else "train_loss"][member]

    def stop_members(self, early: bool) -> bool:
        """End members that diverged or (if `early`) no longer improve; return whether any member still trains."""
        optimizer = self.optimizer
        multipliers = list(optimizer.multipliers)
        for row, member in self.training_members():
            state = self.states[member]
            if self.plan.schedule == "invscaling":
                multipliers[row] = invscaling(state.rows_seen, self.plan.power_t)
            if not math.isfinite(self.latest["train_loss"][member]):
                state.diverged_in = self.epoch
                self.final_params[member] = self.best_params[member]
            elif state.epochs_without_improvement > self.plan.n_iter_no_change[member]:
                state.epochs_without_improvement = 0
                divisor = self.schedule.plateau_divisor
                if divisor is not None and optimizer.learning_rate(row) > self.schedule.min_rate:
                    multipliers[row] /= divisor
                elif early:
                    self.final_params[member] = self._result(row, member)
        if multipliers != optimizer.multipliers:
            optimizer.set_multipliers(multipliers)
        rows = [row for row, _ in self.training_members()]
        if rows and len(rows) < len(self.active):
            self._drop_or_freeze_stopped(rows)
        return bool(rows)

    def _drop_or_freeze_stopped(self, rows: list[int]) -> None:
        """Drop the stopped members, or, if they have to stay, give them their final weights and a rate of 0."""
        if self.drops_members:
            self._next_active = [self.active[row] for row in rows]
            for part in (self.network, self.optimizer, self._dropout):
                part.select(rows)
            if self._smoothing is not None:
                self._smoothing = self._smoothing[rows]
            self.active = self._next_active
            return
        for row, member in enumerate(self.active):
            if row not in rows and (params := self.final_params[member]) is not None:
                self.network.load_row(row, params)
        multipliers = enumerate(self.optimizer.multipliers)
        self.optimizer.set_multipliers([rate if row in rows else 0.0 for row, rate in multipliers])

    def _result(self, row: int, member: int) -> Tensor:
        """Return the parameters that a member ends with: those of its best epoch, if the plan restores them."""
        best = self.best_params[member]
        return best if self.plan.restore_best and best is not None else self.network.param_buffer[row].detach().clone()

    def finish(self, epochs_done: int) -> None:
        """End the training, after this number of complete epochs: put the final parameters into the network."""
        for state in self.states:
            state.epochs = min(state.epochs, epochs_done)
        if self.network.n_members < len(self.active):  # an interrupt came while members were leaving
            self.active = self._next_active
        for row, member in self.training_members():
            self.states[member].unconverged = True
            self.final_params[member] = self._result(row, member)
        for state, params in zip(self.states, self.final_params, strict=True):
            state.failed = params is None
        has_diverged = any(state.diverged_in is not None for state in self.states)
        if self.plan.restore_best or has_diverged or len(self.active) < len(self.states):
            nan_row = torch.full_like(self.network.param_buffer[0], torch.nan)
            self.network.bind_views(torch.stack([nan_row if row is None else row for row in self.final_params]))
