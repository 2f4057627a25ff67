"""Build what a training needs from an estimator's parameters: the plan, the network, its optimizer, the skorch net.

`est` is an estimator whose encoders are fitted.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice, pairwise
from typing import Any

import numpy as np
import torch

from sknn.network.base import Inputs, Network
from sknn.network.custom import CustomNetwork, build_module, check_factory
from sknn.network.embeddings import PIECEWISE_BINS
from sknn.network.mixed import MixedNetwork, Solver
from sknn.network.mlp import MLP
from sknn.network.optimizers import SGD, Adam, EnsembleOptimizer, MemberOptions, TorchOptimizer
from sknn.network.schedules import SCHEDULES
from sknn.preprocessing.scaling import quantiles
from sknn.training.kinds import Kind
from sknn.training.lbfgs import LBFGSNet
from sknn.training.net import TrainingNet
from sknn.training.plan import Plan, TrainingSet
from sknn.training.resolve import Seed, batch_size, dropout_rates, hidden_sizes, precision
from sknn.training.scoring import estimator_metric, watched_metric
from sknn.training.table import Table
from sknn.utils.device import Precision
from sknn.utils.random import member_generator

CPU = torch.device("cpu")
GRADIENT_NORM = "gradient_norm"  # the one name in `metrics` that is not a metric of predictions


def schedule_of(est: Any, is_stream: bool) -> str:
    """Return the schedule's name; "constant" under `partial_fit` if the schedule needs a known end."""
    ends = SCHEDULES[est.learning_rate].by_progress is not None
    return "constant" if is_stream and ends else est.learning_rate


def make_plan(est: Any, data: TrainingSet, seeds: list[Seed], kinds: Sequence[Kind], is_stream: bool = False) -> Plan:
    n, dropout = len(seeds), []
    for kind in kinds:
        rates = dropout_rates(est, kind.batch_norm) if est.module is None else ()
        dropout += [rates if any(rates) else ()] * kind.n_members
    names = [est.metrics] if isinstance(est.metrics, str) else list(est.metrics or [])
    metrics = [name for name in names if name != GRADIENT_NORM]
    return Plan(
        seeds=seeds,
        batch_size=batch_size(est, len(data.train_rows[0])),
        max_iter=est.max_iter,
        shuffle=bool(est.shuffle),
        schedule=schedule_of(est, is_stream),
        power_t=est.power_t,
        tol=[est.tol] * n,
        n_iter_no_change=[est.n_iter_no_change] * n,
        dropout=dropout,
        label_smoothing=[getattr(est, "label_smoothing", 0.0)] * n,
        stopping_scores=[watched_metric(est, est.scoring)] * n if data.valid_rows and est.scoring != "loss" else [],
        restore_best=bool(data.valid_rows),
        metrics={getattr(name, "__name__", str(name)): [estimator_metric(est, name)] * n for name in metrics},
        gradient_norm=GRADIENT_NORM in names,
        verbose=int(est.verbose),
    )


def make_network(est: Any, data: TrainingSet, seeds: list[Seed], kinds: list[Kind]) -> Network:
    """Return the network of all members, on the table's device: with a part for each kind, if there are several."""
    device = data.table.target.device
    types = precision(est, device)
    if est.module is not None:
        network: Network = make_custom(est, data, seeds, types)
    else:
        check_size(est, data.table.width, len(seeds), types, device)
        edges = bin_edges(data) if any(kind.numeric_embedding == "piecewise_linear" for kind in kinds) else []
        rest = iter(seeds)
        parts = [make_mlp(est, data.table, list(islice(rest, kind.n_members)), kind, types, edges) for kind in kinds]
        network = parts[0] if len(parts) == 1 else MixedNetwork(parts)
    return network if network.device == device else network.to(device)


def bin_edges(data: TrainingSet) -> list[torch.Tensor]:
    """Return the edges of each column's bins, which hold equally many training rows; a row of weight k is k rows."""
    columns = data.table.numeric[: data.n_rows].T.double().cpu().numpy()
    weight = None if data.table.weight is None else data.table.weight[: data.n_rows].double().cpu().numpy()
    grid = np.linspace(0, 1, PIECEWISE_BINS + 1).tolist()
    return [torch.from_numpy(np.unique(quantiles(column, grid, weight))) for column in columns]


def make_mlp(est: Any, table: Table, seeds: list[Seed], kind: Kind, types: Precision, edges: list[torch.Tensor]) -> MLP:
    """Return a network of members of one kind."""
    features, embedding = est._features, kind.numeric_embedding
    n_embedded = len(features.numeric_) if embedding else 0
    network = MLP(
        len(seeds),
        n_numeric=table.width,
        n_outputs=est._network_outputs(),
        hidden=hidden_sizes(est),
        activation=est.activation,
        dropout=dropout_rates(est, kind.batch_norm),
        batch_norm=kind.batch_norm,
        numeric_embedding=embedding,
        n_embedded=n_embedded,
        n_levels=features.n_levels_,
        n_means=table.target.shape[1] if kind.target_means else 0,
        input_scale=est.scaling == "auto",
        weight_init="normal" if est.solver == "adamw" else "glorot",
        dtype=types.dtype,
        product_dtype=types.product_dtype,
    )
    network.reset([member_generator(*seed, "weights", CPU) for seed in seeds], edges[:n_embedded])
    return network


def check_size(est: Any, width: int, n_members: int, types: Precision, device: torch.device) -> None:
    """Refuse a network larger than the device's memory: allocating it may succeed, but using it may crash Python."""
    sizes = (width, *hidden_sizes(est), est._network_outputs())
    weights = sum(fan_in * fan_out for fan_in, fan_out in pairwise(sizes))
    needed, available = 2 * n_members * weights * types.dtype.itemsize, total_memory(device)
    if needed > available:
        raise MemoryError(
            f"hidden_layer_sizes={est.hidden_layer_sizes!r} with ensemble_size={est.ensemble_size!r} makes {n_members} "
            f"networks of {weights:,} weights; these and their gradients take {needed / 1e9:,.0f} GB, and the device "
            f"has {available / 1e9:.0f} GB. Use fewer units, or a smaller ensemble_size."
        )


def total_memory(device: torch.device) -> float:
    """Return the bytes of the device's memory; infinity if unknown."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if device.type == "cpu" else np.inf
    except (AttributeError, ValueError, OSError):  # the system has no such call
        return np.inf


def make_custom(est: Any, data: TrainingSet, seeds: list[Seed], types: Precision) -> CustomNetwork:
    check_factory(est.module)
    numeric = data.table.numeric
    in_features = data.table.width if numeric.ndim == 2 else tuple(numeric.shape[1:])
    weight_seeds = [member_generator(*seed, "weights", CPU).initial_seed() for seed in seeds]
    modules = [build_module(est.module, in_features, est._network_outputs(), start) for start in weight_seeds]
    network = CustomNetwork(modules, types.dtype, in_features)
    network.seed([member_generator(*seed, "noise", CPU).initial_seed() for seed in seeds])
    check_output(est, network, data.table.inputs(data.train_rows[0][None, :2].expand(len(seeds), -1)))
    return network


def check_output(est: Any, network: CustomNetwork, x: Inputs) -> None:
    """Refuse a custom module whose output does not have the shape that the target needs."""
    n_rows, n_outputs = x.numeric.shape[1], est._network_outputs()
    x.numeric = x.numeric.to(network.param_buffer)
    with torch.inference_mode():
        shape = tuple(network.eval().outputs(x).shape[1:])
    if shape != (n_rows, n_outputs):
        raise ValueError(
            f"module={est.module!r} gives an output of shape {shape} for {n_rows} rows; this target needs "
            f"({n_rows}, {n_outputs}). Give the last layer the out_features that module is called with."
        )


def make_net(est: Any, network: Network, plan: Plan, callbacks: list) -> TrainingNet:
    options: dict[str, Any] = {"lr": est.learning_rate_init, "device": str(network.device)}
    make = TrainingNet
    if est.solver == "lbfgs":
        make, options = LBFGSNet, options | {"tol": est.tol, "max_fun": est.max_fun}
    solver = make_solver(est, network.n_members)
    return make(network, est._make_loss(), solver, plan, est._class_codes(), callbacks=callbacks, **options)


def make_solver(est: Any, m: int) -> Solver:
    """Return what makes the optimizer of a network of `m` members."""
    weight_decay = est.weight_decay if est.solver == "adamw" else 0.0
    max_norm = np.inf if est.max_grad_norm is None else est.max_grad_norm
    options = MemberOptions([est.learning_rate_init] * m, [est.alpha] * m, [weight_decay] * m, [max_norm] * m)
    return Solver(make_optimizer(est), options)


def make_optimizer(est: Any) -> Callable[..., EnsembleOptimizer]:
    """Return a function of the network of some members and their options."""
    if est.solver in ("adam", "adamw"):
        moments = {"beta_1": est.beta_1, "beta_2": est.beta_2, "epsilon": est.epsilon}
        return partial(Adam, **moments, use_lr_scales=est.solver == "adamw")
    if est.solver == "sgd":
        return partial(SGD, momentum=est.momentum, nesterov=bool(est.nesterovs_momentum))
    if est.solver == "lbfgs":  # scipy moves the weights; only the L2 term is computed here
        return EnsembleOptimizer
    if not (isinstance(est.solver, type) and issubclass(est.solver, torch.optim.Optimizer)):
        raise TypeError(f"solver={est.solver!r} must be a name, or a torch.optim.Optimizer class (not an instance).")
    if issubclass(est.solver, torch.optim.LBFGS):
        raise ValueError("solver=torch.optim.LBFGS needs a closure; use solver='lbfgs', which is scipy's.")
    return partial(TorchOptimizer, optimizer=est.solver)
