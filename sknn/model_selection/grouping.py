"""Keys that are equal for fits that can share a training, encoded rows, or fitted preprocessing steps."""

from dataclasses import dataclass
from typing import Any

import joblib
import scipy.sparse as sp

from sknn.estimators.base import BaseNeural
from sknn.estimators.parameters import Use, names_used_for
from sknn.model_selection.tasks import Task, nested_pipelines
from sknn.training.net import TrainingNet
from sknn.training.table import Table


@dataclass(frozen=True)
class GroupKey:
    """The keys of a candidate that do not depend on the rows."""

    parameters: str  # equal if the parameters allow a joint training
    encoding: str  # equal if the same rows get the same encoding
    steps: str  # equal if the steps before the final estimator are equal

    @classmethod
    def from_task(cls, task: Task, estimator: BaseNeural) -> "GroupKey":
        params = estimator.get_params(deep=False)
        free = names_used_for(type(estimator), Use.PER_MEMBER)
        names = [name for name in sorted(params) if name not in free]
        return cls(
            _parameters_key(estimator, names),
            _parameters_key(estimator, names_used_for(type(estimator), Use.ENCODING)),
            hash_key(*(pipeline.steps[:-1] for pipeline in nested_pipelines(task.estimator))),
        )


def _parameters_key(estimator: BaseNeural, names: list[str]) -> str:
    return hash_key(type(estimator), *((name, getattr(estimator, name)) for name in names))


def network_group_key(net: TrainingNet, table: Table) -> str:
    """Return the key of the network and the plan, which depend on the rows."""
    network, plan = net.module, net.plan
    layers = [
        {name: value for name, value in part.init_args.items() if name != "dropout"}  # type: ignore[union-attr, operator]
        for part in network.parts
    ]
    rows = (sp.issparse(table.numeric), table.n_choices, table.weight is None)
    return repr((layers, type(net.criterion), network.dtype, network.device, rows, plan.batch_size, plan.restore_best))


def hash_key(*parts: Any) -> str:
    """Return a key that is equal for equal parts. An object that cannot be pickled only equals itself."""
    return " ".join(_hash(part) for part in parts)


def _hash(part: Any) -> str:
    if isinstance(part, tuple | list):
        return f"({hash_key(*part)})"
    try:
        return joblib.hash(part)
    except Exception as error:  # pickling may raise any exception
        try:
            joblib.hash(part)
        except type(error):
            return f"id: {id(part)}"
        raise  # hashing works, so a signal handler raised the error
