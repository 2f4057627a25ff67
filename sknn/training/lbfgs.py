"""Train on all rows at once by scipy's L-BFGS-B, one member after another."""

import time
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from sknn.network.base import EnsembleNetwork
from sknn.training.batches import Batch, smooth_labels
from sknn.training.callbacks import is_of_callback
from sknn.training.members import LAST_FIT
from sknn.training.net import TrainingNet
from sknn.training.plan import Plan, TrainingSet
from sknn.training.progress import TrainingProgress, progress_of
from sknn.training.recorder import EpochRecorder

Curve = list[tuple[float, float]]  # for each iteration, the loss after it, and its seconds


class LBFGSNet(TrainingNet):
    """A training net that takes the iterations of a quasi-Newton method, without dropout or schedules.

    Parameters
    ----------
    tol : float
        A member has converged when its largest gradient is at most this.
    max_fun : int
        The most evaluations of the loss.

    Notes
    -----
    Callbacks are called for each iteration, in order, after all members have been trained.
    """

    module_: EnsembleNetwork

    def __init__(self, *args: Any, tol: float = 1e-4, max_fun: int = 15000, **kwargs: Any) -> None:
        self.tol, self.max_fun = tol, max_fun
        super().__init__(*args, **kwargs)

    def fit_loop(self, X: TrainingSet, y: None = None, epochs: int | None = None, **kwargs: Any) -> "LBFGSNet":
        [data], n = X.prepared_for(self.module_).of_parts(self.module_), self.module_.n_members
        self.stopped_by_, self._held_out = None, []
        for state in self.member_states_:
            state.reset(LAST_FIT)
        curves: list[Curve] = [[] for _ in range(n)]
        trained = list(range(n))
        self.module_.train()
        try:
            with (
                progress_of(self.plan.verbose, n, self.plan.max_iter * n) as progress,
                self.module_.compute_context(len(data.table)),
            ):
                for m in range(n):
                    self._minimise(data, m, curves[m], progress)
        except KeyboardInterrupt as interrupt:
            trained = self._interrupted(interrupt, [m for m in range(n) if curves[m] or self.rows_seen_[m]])
        self.module_.eval()
        for state, rows, curve in zip(self.member_states_, data.train_rows, curves, strict=True):
            state.failed = state.diverged_in is not None
            state.epochs = len(curve)
            state.rows_seen += len(rows) * len(curve)
        self._keep_members(trained)
        self._record(data, [len(data.train_rows[m]) for m in trained], [curves[m] for m in trained])
        return self

    def _minimise(self, data: TrainingSet, m: int, curve: Curve, progress: TrainingProgress) -> None:
        """Move member m's weights to a minimum, and add its loss after each iteration to `curve`."""
        network, started = self.module_, time.perf_counter()
        batch = whole_batch(data, m, self.plan)

        def loss_and_gradient(x: np.ndarray) -> tuple[float, np.ndarray]:
            with torch.no_grad():
                network.param_buffer[m] = torch.from_numpy(x).to(network.param_buffer)
            return self._loss_and_gradient(batch), network.grad_buffer[m].double().cpu().numpy().copy()

        def record(intermediate_result: Any) -> None:
            nonlocal started
            now = time.perf_counter()
            curve.append((float(intermediate_result.fun), now - started))
            started = now
            reached[:] = intermediate_result.x
            number = {"network": m + 1} if network.n_members > 1 else {}
            progress.update(number | {"epoch": len(curve), "train_loss": curve[-1][0]})

        start = network.param_buffer[m].detach().double().cpu().numpy().copy()
        reached = start.copy()
        options = {"maxfun": self.max_fun, "maxiter": self.plan.max_iter, "gtol": self.tol}
        try:
            result = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", callback=record, options=options)
        except KeyboardInterrupt:  # in the middle of a line search
            network.load_row(m, torch.from_numpy(reached).to(network.param_buffer))
            raise
        finally:
            network.release()  # frees memory for all rows, which the next member allocates again
        if not np.isfinite(result.fun):
            self.member_states_[m].diverged_in = len(curve) + 1
        network.load_row(m, torch.from_numpy(result.x).to(network.param_buffer))
        if result.status != 0:  # 1: max_iter or max_fun is reached; 2: the line search found no smaller loss
            self.member_states_[m].unconverged = True

    def _loss_and_gradient(self, batch: Batch) -> float:
        criterion = self.criterion_
        with torch.inference_mode():
            z = self.module_.gradients(
                batch.inputs, [], lambda z: criterion.gradient(z, batch.target).mul_(batch.scale), batch.members
            )
            loss = (criterion.values(z, batch.target) * batch.scale).sum()
            squares = self.optimizer_.add_l2_gradient(batch.inverse_weight, batch.members)
            return float(loss if squares is None else loss + 0.5 * squares[0] * batch.inverse_weight)

    def _record(self, data: TrainingSet, sizes: list[int], curves: list[Curve]) -> None:
        """Record each iteration and call the callbacks for it; a converged member's last loss is repeated.

        If a callback ends the training, no callback is called for the remaining iterations. The weights stay, since the
        training is over already.
        """
        datasets, recorder = data.datasets(), EpochRecorder(self.history, self.member_history_)
        done = 0
        notify = self.notify
        try:
            for i in range(max(map(len, curves))):
                notify("on_epoch_begin", **datasets)
                recorder.begin()
                recorder.write("train_loss", [curve[min(i, len(curve) - 1)][0] for curve in curves if curve])
                training = [m for m, curve in enumerate(curves) if i < len(curve)]
                recorder.row["rows"] = sum(sizes[m] for m in training)
                done += 1
                recorder.finish(sum(curves[m][i][1] for m in training))
                try:
                    notify("on_epoch_end", **datasets)
                except KeyboardInterrupt as interrupt:
                    if not is_of_callback(interrupt):
                        raise
                    notify = self._notify_only_itself
        except KeyboardInterrupt:  # not all iterations have a record
            self.stopped_by_ = "user"
            recorder.drop_unfinished()
            for state in self.member_states_:
                state.epochs = min(state.epochs, done)

    def _notify_only_itself(self, method: str, **kwargs: Any) -> None:
        """Call the net's own method for an event, and no callback's."""
        getattr(self, method)(self, **kwargs)


def whole_batch(data: TrainingSet, m: int, plan: Plan) -> Batch:
    """Return all training rows of member m as one batch."""
    rows, table = data.train_rows[m][None], data.table
    target = table.target[rows]
    if any(plan.label_smoothing):
        target = smooth_labels(target, target.new_tensor([plan.label_smoothing[m]]), table.n_choices)
    scale: float | Tensor = 1 / rows.shape[1]
    inverse_weight: float | Tensor = scale
    if table.weight is not None:
        inverse_weight = 1 / table.weight[rows].sum(1)
        scale = (table.weight[rows] * inverse_weight[:, None]).unsqueeze(2)
    members = slice(m, m + 1)
    return Batch(members, [members], rows, table.inputs(rows), target, [], scale, inverse_weight, 0)
