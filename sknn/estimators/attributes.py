"""The fitted attributes: those of scikit-learn's MLP, and the history."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from sknn.history.diagnosis import TrainingWarning, diagnose, find_advice
from sknn.history.records import make_frame, make_records
from sknn.network.base import Network
from sknn.network.layers import Linear
from sknn.network.mixed import MixedNetwork
from sknn.network.mlp import MLP
from sknn.network.schedules import SCHEDULES
from sknn.training.net import TrainingNet
from sknn.utils.warnings import warn

DIVERGED = (
    "The training loss became NaN or infinite in epoch {epoch}. Try a smaller learning_rate_init, "
    "max_grad_norm=1.0, scaling='auto', or look for extreme values in y."
)

# The entries in both estimators' docstrings.
ATTRIBUTES = """coefs_, intercepts_ : list of ndarray
        Weights and biases of the linear layers, as in scikit-learn's MLP; with several members they have a leading
        members axis.
    history_ : list of dict
        A record for each epoch; `history_frame()` returns it as a table.
    loss_, best_loss_ : float
        The last and the smallest training loss; `best_loss_` is None if rows were held out.
    loss_curve_ : list of float
        The training loss after each epoch, mean over members; for a regressor, in units of the scaled target.
    validation_scores_, best_validation_score_ : list of float, float
        The scores that early stopping watched (a loss times -1), or None if no rows were held out.
    n_iter_, t_ : int
        The most epochs of a member, and the most rows that a member has trained on, over all fits.
    n_layers_, n_outputs_, out_activation_ : int, int, str
        As in scikit-learn's MLP.
    n_features_in_, feature_names_in_ : int, ndarray
        The columns of `fit`; names only if they are strings.
    target_name_ : str
        The name of y, if y is a frame's column.
    member_weights_ : ndarray of shape (n_members,)
        The share of each member in the predictions; they add up to 1.
    members_ : DataFrame
        A row for each member: its kind, epochs, best epoch, validation score and weight. Needs pandas.
    net_ : TrainingNet
        The skorch net over all members.
    module_ : torch.nn.Module
        The network; its input is encoded rows.
    device_ : torch.device"""


class FittedAttributes:
    """A mixin with the attributes that a fit sets, and those that are read from the network."""

    net_: TrainingNet

    def _set_fitted_attributes(self, net: TrainingNet, complete: bool) -> None:
        """Set the attributes, and warn about problems; `complete` is True for `fit`, False for `partial_fit`."""
        history = [row for row in net.history if "train_loss" in row]
        held_out = bool(history) and "valid_loss" in history[-1]
        self.net_ = net
        self.n_iter_, self.t_ = max(net.epochs_), max(net.rows_seen_)
        self.n_outputs_ = self._network_outputs()  # type: ignore[attr-defined]
        first = net.module_.parts[0]
        if isinstance(first, MLP):
            self.n_layers_ = len(first.linears()) + 1
        self.loss_curve_ = [row["train_loss"] for row in history]
        self.loss_ = self.loss_curve_[-1] if history else np.nan
        self.best_loss_ = min(self.loss_curve_) if history and not held_out else None
        watched = [row for row in history if "valid_loss" in row] if held_out else []
        scores = [row.get("valid_score", -row["valid_loss"]) for row in watched]
        self.validation_scores_ = scores or None
        # The best of this fit only: a warm start restores its own best epoch.
        self.best_validation_score_ = max(scores[len(scores) - self.n_iter_ :], default=None)
        self._warn(net, complete)

    def _warn(self, net: TrainingNet, complete: bool) -> None:
        if net.stopped_by_ == "user":
            warn("Training interrupted by user.")
        if net.diverged_members_:
            lost = DIVERGED.format(epoch=min(net.diverged_members_.values()))
            warn(f"{lost} The weights of the best epoch before are kept.")
        elif complete:
            waits = [state.epochs_without_improvement for state in net.member_states_]
            hint = find_advice(diagnose(net.history[len(net.history) - self.n_iter_ :]), waits)
            if hint is not None:
                warn(hint, TrainingWarning)
        if complete and net.unconverged_members_ and net.stopped_by_ is None:
            self._warn_of_no_convergence()

    def _warn_of_no_convergence(self) -> None:
        """Warn that members were still improving at the end, unless the schedule ends by itself."""
        solver, schedule, max_iter, max_fun = (
            getattr(self, name) for name in ("solver", "learning_rate", "max_iter", "max_fun")
        )
        if solver == "lbfgs":
            warn(
                f"lbfgs ended after {self.n_iter_} iterations, before it converged: it reached max_iter={max_iter} or "
                f"max_fun={max_fun}, or found no step to a smaller loss. Raise them, or try scaling='auto'.",
                ConvergenceWarning,
            )
        elif SCHEDULES[schedule].open_ended:
            warn(
                f"Maximum iterations (max_iter={max_iter}) reached and the optimization hasn't converged yet. "
                "Raise max_iter, or use learning_rate='cosine', which ends by itself.",
                ConvergenceWarning,
            )

    def _fitted_net(self, name: str) -> TrainingNet:
        if "net_" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no {name} before fit.")
        return self.net_

    @property
    def module_(self) -> Network:
        """The trained `torch.nn.Module`, with members on the first axis; its input is encoded rows."""
        return self._fitted_net("module_").module_

    @property
    def device_(self) -> torch.device:
        """The device of the network."""
        return self._fitted_net("device_").module_.device

    @property
    def member_weights_(self) -> np.ndarray:
        """The share of each member in the predictions."""
        weights = np.array([state.weight for state in self._fitted_net("member_weights_").member_states_])
        return weights / weights.sum()

    @property
    def members_(self) -> Any:
        """A row for each member.

        `kind` names the settings in which members differ. `epochs` are those of the last fit. `best_epoch`, counted
        from 1 over all fits, is the one with the best `validation_score`: of the rows that the member held out, larger
        is better (a loss times -1). Without such rows, they are those of the training loss.
        """
        net = self._fitted_net("members_")
        try:
            import pandas as pd
        except ImportError as error:  # an attribute that is not there, as `inspect.getmembers` expects
            raise AttributeError("members_ needs pandas; install it with: pip install 'sknn[pandas]'") from error
        frame = pd.DataFrame(
            {
                "kind": net.module_.kinds,
                "epochs": net.epochs_,
                "best_epoch": [state.best_epoch for state in net.member_states_],
                "validation_score": [state.best_score for state in net.member_states_],
                "weight": self.member_weights_,
            }
        )
        return frame.rename_axis("member")

    @property
    def history_(self) -> list[dict[str, Any]]:
        """A record for each epoch.

        Training and validation loss, metrics (means over members; with several members also `member_...` lists), the
        gap (validation loss / training loss), the learning rate, seconds, training rows per second (of all members
        together), and the diagnosis: None, 'overfitting', 'divergence' or 'flat', by the rule of
        `sknn.history.diagnosis.diagnose`.
        """
        net = self._fitted_net("history_")
        return make_records(net.history, net.member_history_)

    def history_frame(self, members: bool = False) -> Any:
        """Return the history as a table.

        Parameters
        ----------
        members : bool, default=False
            Whether to return each member's values instead of their means.

        Returns
        -------
        pandas.DataFrame
            With a row for each epoch or, with `members`, for each epoch and member.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return make_frame(self.history_, members)

    @property
    def coefs_(self) -> list[np.ndarray]:
        """Weights of the linear layers, (in, out) each; with several members (members, in, out)."""
        return self._arrays_of_linears("coefs_", lambda layer: layer.effective_weight())

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """Biases of the linear layers, (out,) each; with several members (members, out)."""
        return [bias.squeeze(-2) for bias in self._arrays_of_linears("intercepts_", lambda layer: layer.bias)]

    def _arrays_of_linears(self, name: str, tensor_of: Callable[[Any], torch.Tensor]) -> list[np.ndarray]:
        network = self._fitted_net(name).module_
        if isinstance(network, MixedNetwork):
            raise AttributeError(
                f"the members have different layers, so there is no {name}; see module_.parts, or fit with "
                "batch_norm=False, numeric_embedding=None and target_means=False."
            )
        if not isinstance(network, MLP):
            raise AttributeError(f"a custom module has no {name}; see module_")
        layers = [layer for layer in network.layers if isinstance(layer, Linear)]
        arrays = [tensor_of(layer).detach().cpu().numpy() for layer in layers]
        return [array[0] if network.n_members == 1 else array for array in arrays]
