"""The parameters with which a network is built, and which it keeps when it is trained further."""

from typing import Any

from sknn.estimators.parameters import Use, names_used_for
from sknn.training.resolve import dropout_rates, hidden_sizes


def network_parameters(est: Any) -> dict[str, Any]:
    """Return the parameters that a network keeps, as they are now."""
    fixed = {name: getattr(est, name) for name in names_used_for(type(est), Use.NETWORK)}
    shape: dict[str, Any] = {}
    if est.module is None:
        dropout = est.dropout if isinstance(est.dropout, str) else dropout_rates(est, batch_norm=False)
        shape = {"hidden_layer_sizes": hidden_sizes(est), "dropout": dropout}
    return fixed | shape | {"solver": "lbfgs" if est.solver == "lbfgs" else "a stochastic one"}


def check_same_network(est: Any) -> None:
    """Refuse to train a network further if the parameters have changed since it was built."""
    for name, before in est._built_with.items():
        now = network_parameters(est).get(name)
        if now is not before and repr(now) != repr(before):
            raise ValueError(
                f"{name}={now!r}, but the network that warm_start or partial_fit would train further was built with "
                f"{before!r}; restore it, or fit with warm_start=False."
            )
