"""One fit of a search: scikit-learn's call, the network in it, and what it shares with the other fits."""

import contextlib
import inspect
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.model_selection._validation import _fit_and_predict, _fit_and_score
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params
from torch import Tensor

from sknn.estimators.base import BaseNeural
from sknn.estimators.built_with import network_parameters
from sknn.history.diagnosis import TrainingWarning
from sknn.model_selection.grouping import (
    can_train_jointly,
    encoding_group_key,
    hash_key,
    network_group_key,
    parameters_group_key,
)
from sknn.network.metrics import Metric
from sknn.training.joint import train_jointly
from sknn.training.net import TrainingNet
from sknn.training.plan import TrainingSet
from sknn.training.scoring import ScorerMetric
from sknn.training.table import Table

# --- A task of joblib ---------------------------------------------------------------------------------------------


@dataclass
class Task:
    """One call of scikit-learn's, with its arguments by name."""

    function: Callable
    arguments: dict[str, Any]

    @classmethod
    def of(cls, call: Callable, args: tuple, kwargs: dict) -> "Task":
        function = getattr(call, "function", call)  # scikit-learn's wrapper sets the configuration, which is ours too
        if function not in (_fit_and_score, _fit_and_predict):
            return cls(call, {"args": args, "kwargs": kwargs})
        return cls(function, inspect.signature(function).bind(*args, **kwargs).arguments)

    def run(self) -> Any:
        if "kwargs" in self.arguments:
            return self.function(*self.arguments["args"], **self.arguments["kwargs"])
        result = self.function(**self.arguments)
        if isinstance(result, dict):
            result["group"] = f"alone: {self.arguments.get('candidate_progress')}"
        return result

    def forget(self) -> None:
        """Let go of the estimator and the rows."""
        self.arguments = {}

    def network(self) -> BaseNeural | None:
        """The estimator at the end of the task's, with the candidate's parameters, if it can train with others."""
        if "train" not in self.arguments:
            return None
        estimator, parameters = self.arguments["estimator"], self.arguments.get("parameters")
        if parameters is not None:
            estimator.set_params(**clone(parameters, safe=False))
        pipelines = pipelines_of(estimator)
        last = pipelines[-1].steps[-1][1] if pipelines else estimator
        is_ours = isinstance(last, BaseNeural) and all(
            getattr(type(last), name) is getattr(BaseNeural, name)
            for name in ("fit", "_train", "_prepare", "_conclude")
        )
        return last if is_ours and can_train_jointly(last) else None


def pipelines_of(estimator: Any) -> list[Pipeline]:
    """The pipeline that an estimator is, the pipeline at its end, and so on."""
    pipelines = []
    while type(estimator) is Pipeline and estimator.steps:
        pipelines.append(estimator)
        estimator = estimator.steps[-1][1]
    return pipelines


# --- One fit ------------------------------------------------------------------------------------------------------


@dataclass
class Fit:
    """A task whose network is to be trained with others.

    An error that belongs to this fit alone is kept for scikit-learn, which hears of it when the task runs.
    """

    task: Task
    network: BaseNeural
    kind: "GroupKey"
    layout: str = ""
    net: TrainingNet | None = None
    data: TrainingSet | None = None
    error: Exception | None = None
    is_trained: bool = False
    seconds: float = 0.0

    def prepare(self, shared: "Shared") -> None:
        """Fit the steps before the network, encode the rows, and build the network."""
        started = time.perf_counter()
        try:
            self.network._validate_params()
            table, n_rows = shared.encoded(self)
            self.net, self.data = self.network._prepare(table, n_rows)
            self.layout = network_group_key(self.net, table)
        except Exception as error:  # as scikit-learn does where it calls `fit`
            if self.ends_the_search and not isinstance(error, MemoryError):  # of which there may be more later
                raise
            self.error = error
        self.seconds = time.perf_counter() - started

    @property
    def ends_the_search(self) -> bool:
        """Whether an error of this fit is raised, and gives no `error_score`."""
        return self.task.function is not _fit_and_score or self.task.arguments.get("error_score") == "raise"

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """In which its network trains, alone or with others like it."""
        assert self.net is not None
        assert self.data is not None
        with self.network._memory_advice(self.net.plan.batch_size), self.network._threads(self.net, self.data):
            yield

    @contextlib.contextmanager
    def blamed_for_its_scorers(self) -> Iterator[None]:
        """Inside, what a scorer of its network raises is the error of this fit, and those beside it train on."""
        assert self.net is not None
        if self.ends_the_search:
            yield
            return
        plan = self.net.plan
        self.net.plan = replace(
            plan,
            watch=self._blamed_for(plan.watch),
            metrics={name: self._blamed_for(metrics) for name, metrics in plan.metrics.items()},
        )
        try:
            yield
        finally:
            self.net.plan = plan

    def _blamed_for(self, metrics: list[Metric]) -> list[Metric]:
        """The metrics of its members, which are one; those of ours raise nothing."""
        if not metrics or not isinstance(metrics[0], ScorerMetric):
            return metrics
        metric = metrics[0]

        def blamed(p: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
            if self.error is None:
                try:
                    return metric(p, y, weight)
                except Exception as error:
                    self.error = error
            return torch.full((len(p),), torch.nan, dtype=torch.float64, device=p.device)

        return [blamed] * len(metrics)

    def train(self) -> None:
        """Train its network alone."""
        started = time.perf_counter()
        with self.computing():
            train_jointly([self.net], [self.data])  # type: ignore[list-item]
        self.seconds += time.perf_counter() - started

    def result(self) -> Any:
        """Run the task, whose estimator has been trained beforehand, or trains now if it is to train alone."""
        estimator = self.task.arguments["estimator"]
        estimator.fit, estimator.set_params = self._fit_precomputed, lambda **_: estimator
        result = self.task.run()
        if isinstance(result, dict) and "fit_time" in result:
            result |= {"fit_time": self.seconds, "group": self.group}
        return result

    @property
    def group(self) -> tuple[str, str]:
        """What is equal for fits that train together."""
        return self.kind.shape, self.layout

    def _fit_precomputed(self, *args: Any, **kwargs: Any) -> Any:
        """Be the `fit` of the task's estimator, once: what looks at it afterwards finds it as any other."""
        estimator = self.task.arguments["estimator"]
        del estimator.fit, estimator.set_params
        if self.error is not None:
            raise self.error
        if not self.is_trained:
            self.train()
        assert self.net is not None
        with warnings.catch_warnings(action="ignore", category=TrainingWarning):  # a search tries what may be too much
            self.network._conclude(self.net)
        return estimator

    @property
    def cost_key(self) -> tuple[bool, ...]:
        """What costs time in every step, if one of those that train together has it."""
        return bool(np.any(self.network.dropout)), self.network.alpha > 0

    @property
    def size(self) -> int:
        """Bytes of the network, and of its gradient."""
        param_buffer = None if self.net is None else self.net.module.param_buffer
        return 0 if param_buffer is None else 2 * param_buffer.numel() * param_buffer.element_size()


@dataclass(frozen=True)
class GroupKey:
    """Keys of what a candidate has in common with others: its layers, its encoding, and the steps before."""

    shape: str
    encoding: str
    steps: str

    @classmethod
    def of(cls, task: Task, network: BaseNeural) -> "GroupKey":
        steps = [pipeline.steps[:-1] for pipeline in pipelines_of(task.arguments["estimator"])]
        return cls(parameters_group_key(network), encoding_group_key(network), hash_key(*steps))


@dataclass
class Shared:
    """What fits of the same rows and the same preprocessing have in common, made by the first of them."""

    arguments_of: dict[Any, tuple[list, tuple]] = field(default_factory=dict)
    table_of: dict[Any, tuple[dict, Table, int]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of the tables."""
        return sum(table.n_bytes for _, table, _ in self.table_of.values())

    def encoded(self, fit: Fit) -> tuple[Table, int]:
        rows, (args, params) = self._arguments(fit)
        key = rows, fit.kind.encoding
        if key not in self.table_of:
            before = set(vars(fit.network))
            table, n_rows = fit.network._encode_all(*args, **params)
            new = vars(fit.network).keys() - before - {"_built_with"}
            learned = {name: getattr(fit.network, name) for name in new}
            self.table_of[key] = learned, table, n_rows
        learned, table, n_rows = self.table_of[key]
        fit.network.__dict__.update(learned, _built_with=network_parameters(fit.network))
        return table, n_rows

    def _arguments(self, fit: Fit) -> tuple[Any, tuple]:
        """What the network's own `fit` is called with, after the steps before it; and a key to it."""
        task = fit.task.arguments
        pipelines = pipelines_of(task["estimator"])
        key = id(task["train"]), fit.kind.steps
        if key not in self.arguments_of:
            arguments = arguments_of_fit(fit)
            self.arguments_of[key] = [pipeline.steps[:-1] for pipeline in pipelines], arguments
        fitted, arguments = self.arguments_of[key]
        for pipeline, steps in zip(pipelines, fitted, strict=True):
            pipeline.steps[:-1] = steps
        return key, arguments


def arguments_of_fit(fit: Fit) -> tuple:
    """Fit what stands before the network, and note what its `fit` is then called with."""
    task, network = fit.task.arguments, fit.network
    X, y = _safe_split(task["estimator"], task["X"], task["y"], task["train"])
    params = _check_method_params(task["X"], params=task.get("fit_params") or {}, indices=task["train"])
    noted: list[tuple] = []
    network.fit = lambda *args, **kwargs: noted.append((args, kwargs))  # type: ignore[method-assign, assignment]
    try:
        task["estimator"].fit(X, y, **params)
    finally:
        del network.fit
    return noted[0]
