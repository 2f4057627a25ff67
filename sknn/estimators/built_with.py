"""The parameters that a network is built with, and keeps when it is trained on."""

from typing import Any

from sknn.estimators.parameters import Use, names_used_for
from sknn.training.resolve import dropout_rates, hidden_sizes


def network_parameters(est: Any) -> dict[str, Any]:
    """The parameters that a network keeps for life, as they were when it was built."""
    fixed = {name: getattr(est, name) for name in names_used_for(type(est), Use.NETWORK)}
    shape = {} if est.module is not None else {"hidden_layer_sizes": hidden_sizes(est), "dropout": dropout_rates(est)}
    return fixed | shape | {"solver": "lbfgs" if est.solver == "lbfgs" else "a stochastic one"}


def check_same_network(est: Any) -> None:
    """Refuse to go on training a network that the parameters no longer describe."""
    for name, then in est._built_with.items():
        now = network_parameters(est).get(name)
        if now is not then and repr(now) != repr(then):
            raise ValueError(
                f"{name}={now!r}, but the network that warm_start or partial_fit would train on was built with "
                f"{then!r}; restore it, or fit with warm_start=False."
            )
