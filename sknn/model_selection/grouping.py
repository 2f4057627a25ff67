"""Keys that fits share if they can share work: the training, the encoded rows, the steps before the network."""

from typing import Any

import joblib
import scipy.sparse as sp

from sknn.estimators.parameters import Use, names_used_for
from sknn.training.net import TrainingNet
from sknn.training.table import Table


def can_train_jointly(est: Any) -> bool:
    """Whether the training is that of a built-in network, in steps, with nobody looking on."""
    in_steps = isinstance(est.solver, str) and est.solver != "lbfgs"
    return in_steps and est.module is None and not est.callbacks and not est.warm_start


def parameters_group_key(est: Any) -> str:
    """What has to be equal for networks to train together, as far as the parameters tell."""
    free = names_used_for(type(est), Use.PER_MEMBER)
    params = est.get_params(deep=False)
    return hash_key(type(est), *((name, value) for name, value in sorted(params.items()) if name not in free))


def encoding_group_key(est: Any) -> str:
    """What has to be equal for networks to share encoded rows."""
    return hash_key(type(est), *((name, getattr(est, name)) for name in names_used_for(type(est), Use.ENCODING)))


def network_group_key(net: TrainingNet, table: Table) -> str:
    """What has to be equal for nets to train together besides their shape: what the rows have made of it."""
    network, plan = net.module, net.plan
    layers = {name: value for name, value in network.init_args.items() if name != "dropout"}
    kinds = (
        type(net.criterion),
        network.param_buffer.dtype,
        network.param_buffer.device,
        sp.issparse(table.numeric),
        table.n_choices,
    )
    return repr((layers, kinds, plan.batch_size, plan.restore_best, table.weight is None))


def hash_key(*parts: Any) -> str:
    """A key that equal things share; what cannot be pickled is only equal to itself, as long as it lives."""
    return " ".join(_hash_of(part) for part in parts)


def _hash_of(part: Any) -> str:
    if isinstance(part, tuple | list):
        return f"({hash_key(*part)})"
    try:
        return joblib.hash(part)
    except Exception as error:  # whatever pickling raises
        if not _comes_again(error, part):
            raise
        return f"unlike others: {id(part)}"


def _comes_again(error: Exception, part: Any) -> bool:
    """Whether the error is that of the part, and not of a signal's handler, say, that ran meanwhile."""
    try:
        joblib.hash(part)
    except type(error):
        return True
    return False
