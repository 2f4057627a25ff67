"""Resume a net's training, restore the net after a failure, and pickle it."""

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any, Self

from torch import Tensor

from sknn.network.base import Network
from sknn.training.members import EARLY_STOPPING, MemberState
from sknn.training.plan import Plan

NOT_PICKLED = ("optimizer_", "callbacks_", "_runs", "_recorder", "_held_out")


class ResumableTraining:
    """A mixin for a skorch net over the members of a network.

    Between two trainings, one of three holds: the optimizer is kept (`optimizer_`); only its state is kept, on the CPU
    (`optimizer_state`), and the next training makes an optimizer from it; or nothing is kept.

    Attributes
    ----------
    epochs_ : list of int
        Epochs of each member in the last fit.
    rows_seen_ : list of int
        Rows that each member has trained on, over all fits.
    diverged_members_ : dict of int to int
        Members whose loss became NaN or infinite, and the epoch in which it did.
    failed_members_ : list of int
        Those that diverged before any epoch with a finite loss.
    unconverged_members_ : list of int
        Members that were still improving when the last fit ended.
    """

    module_: Network
    optimizer_: Any
    history: Any
    keeps_optimizer: bool
    member_states_: list[MemberState]
    member_history_: dict[int, dict[str, list[float]]]
    _held_out: list[Tensor]
    _initialize_callbacks: Callable[[], Any]  # of skorch
    _initialize_optimizer: Callable[[], Any]

    @property
    def epochs_(self) -> list[int]:
        return [state.epochs for state in self.member_states_]

    @property
    def rows_seen_(self) -> list[int]:
        return [state.rows_seen for state in self.member_states_]

    @property
    def diverged_members_(self) -> dict[int, int]:
        epochs = enumerate(state.diverged_in for state in self.member_states_)
        return {member: epoch for member, epoch in epochs if epoch is not None}

    @property
    def failed_members_(self) -> list[int]:
        return [member for member, state in enumerate(self.member_states_) if state.failed]

    @property
    def unconverged_members_(self) -> list[int]:
        return [member for member, state in enumerate(self.member_states_) if state.unconverged]

    def resume(self, plan: Plan, callbacks: list, solver: Callable, *, same_solver: bool) -> Self:
        """Prepare to continue training from the present weights, with the previous optimizer or a new one."""
        self.plan, self.callbacks, self.optimizer = plan, callbacks, solver
        self.max_epochs, self.batch_size = plan.max_iter, plan.batch_size
        self._initialize_callbacks()
        state = self.__dict__.pop("optimizer_state", None)
        if same_solver and state is None and self.keeps_optimizer and "optimizer_" in self.__dict__:
            return self
        if not same_solver:
            for member in self.member_states_:
                member.reset(EARLY_STOPPING)
        self._initialize_optimizer()
        if same_solver and state is not None:
            self.optimizer_.load_state_dict(state)
        return self

    @contextlib.contextmanager
    def restored_on_failure(self) -> Iterator[None]:
        """Restore the net's present state if the block, which calls `resume`, fails or is interrupted."""
        before, restore_network, n_epochs = dict(self.__dict__), self.module_.snapshot(), len(self.history)
        kept: dict[str, Any] = {"member_states_": copy.deepcopy(self.member_states_)}
        optimizer = before.pop("optimizer_", None)
        if optimizer is not None and self.keeps_optimizer:  # the next `resume` makes it again from its state
            kept["optimizer_state"] = on_cpu(optimizer.state_dict())
        try:
            yield
        except BaseException:
            self.__dict__ = before | kept
            restore_network()
            del self.history[n_epochs:]
            for epoch in [epoch for epoch in self.member_history_ if epoch > n_epochs]:
                del self.member_history_[epoch]
            raise

    def _keep_members(self, members: list[int]) -> None:
        """Drop all members but these."""
        if len(members) == self.module_.n_members:
            return
        self.module_.select(members)
        self.member_states_ = [self.member_states_[m] for m in members]
        self.__dict__.pop("optimizer_", None)
        self._held_out = [self._held_out[m] for m in members] if self._held_out else []

    def __getstate__(self) -> dict[str, Any]:
        """Return weights and history; no data, no callbacks, and the optimizer's state only if it is kept."""
        state = {k: v for k, v in self.__dict__.items() if k not in NOT_PICKLED}
        state |= {"plan": None, "callbacks": None, "callbacks_": []}
        if self.keeps_optimizer and "optimizer_" in self.__dict__:
            state["optimizer_state"] = on_cpu(self.optimizer_.state_dict())
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def on_cpu(state: Any) -> Any:
    """Return a copy of nested dicts and lists with every tensor on the CPU."""
    if isinstance(state, Tensor):
        return state.detach().cpu().clone()
    if isinstance(state, dict):
        return {key: on_cpu(value) for key, value in state.items()}
    return [on_cpu(value) for value in state] if isinstance(state, list) else state
