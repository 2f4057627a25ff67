"""How a net's training goes on later, goes back after a failure, and is pickled."""

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any, Self

from torch import Tensor

from sknn.network.base import EnsembleNetwork
from sknn.training.plan import Plan, Progress

NOT_PICKLED = ("optimizer_", "callbacks_", "_observers", "_held_out")


class ResumableTraining:
    """A mixin for a skorch net over the members of a network.

    Between two trainings the solver is there as it was left (`optimizer_`), or as its state on the CPU
    (`optimizer_state`), from which the next training makes it again; or it is not kept.
    """

    module_: EnsembleNetwork
    progress_: Progress
    optimizer_: Any
    history: Any
    keeps_optimizer: bool
    members_: dict[int, dict[str, list[float]]]
    epochs_: list[int]
    rows_seen_: list[int]
    unconverged_members_: list[int]
    diverged_members_: dict[int, int]
    failed_members_: list[int]
    _held_out: list[Tensor]
    _initialize_callbacks: Callable[[], Any]  # of skorch
    _initialize_optimizer: Callable[[], Any]

    def resume(self, plan: Plan, callbacks: list, solver: Callable, *, same_solver: bool) -> Self:
        """Make ready to train on from the present weights, with the solver as it was left or a new one."""
        self.plan, self.callbacks, self.optimizer = plan, callbacks, solver
        self.max_epochs, self.batch_size = plan.max_iter, plan.batch_size
        self._initialize_callbacks()
        state = self.__dict__.pop("optimizer_state", None)
        if same_solver and state is None and self.keeps_optimizer and "optimizer_" in self.__dict__:
            return self
        if not same_solver:
            self.progress_ = Progress(self.module_.n_members)
        self._initialize_optimizer()
        if same_solver and state is not None:
            self.optimizer_.load_state_dict(state)
        return self

    @contextlib.contextmanager
    def restored_on_failure(self) -> Iterator[None]:
        """Bring the net back to what it was if what follows, from `resume` on, fails or is interrupted."""
        before, restore_network, n_epochs = dict(self.__dict__), self.module_.snapshot(), len(self.history)
        kept = {"progress_": copy.deepcopy(self.progress_), "rows_seen_": list(self.rows_seen_)}
        solver = before.pop("optimizer_", None)
        if solver is not None and self.keeps_optimizer:  # the next `resume` makes it again from its state
            kept["optimizer_state"] = on_cpu(solver.state_dict())
        try:
            yield
        except BaseException:
            self.__dict__ = before | kept
            restore_network()
            del self.history[n_epochs:]
            for epoch in [epoch for epoch in self.members_ if epoch > n_epochs]:
                del self.members_[epoch]
            raise

    def _keep(self, members: list[int]) -> None:
        """Go on as the net of these members."""
        if len(members) == self.module_.n_members:
            return
        self.module_.select(members)
        self.progress_.select(members)
        self.__dict__.pop("optimizer_", None)
        self.epochs_, self.rows_seen_ = ([each[m] for m in members] for each in (self.epochs_, self.rows_seen_))
        number = {m: k for k, m in enumerate(members)}
        self.unconverged_members_, self.failed_members_ = (
            [number[m] for m in each if m in number] for each in (self.unconverged_members_, self.failed_members_)
        )
        self.diverged_members_ = {number[m]: epoch for m, epoch in self.diverged_members_.items() if m in number}
        self._held_out = [self._held_out[m] for m in members] if self._held_out else []

    def __getstate__(self) -> dict[str, Any]:
        """Weights and history; nothing of the data, no callbacks, and the solver's state only if training may go on."""
        state = {k: v for k, v in self.__dict__.items() if k not in NOT_PICKLED}
        state |= {"plan": None, "callbacks": None, "callbacks_": []}
        if self.keeps_optimizer and "optimizer_" in self.__dict__:
            state["optimizer_state"] = on_cpu(self.optimizer_.state_dict())
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def on_cpu(state: Any) -> Any:
    """A copy of nested dicts and lists with every tensor on the CPU."""
    if isinstance(state, Tensor):
        return state.detach().cpu().clone()
    if isinstance(state, dict):
        return {key: on_cpu(value) for key, value in state.items()}
    return [on_cpu(value) for value in state] if isinstance(state, list) else state
