"""What an estimator's parameters make: the split of the rows, the plan of the training, the network, its solver.

Functions of an estimator `est` whose encoders are fitted.
"""

import os
from functools import partial
from itertools import pairwise
from typing import Any

import joblib
import numpy as np
import scipy.sparse as sp
import torch
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

from sknn._device import Precision, resolve_precision, stream
from sknn._encoding import quantiles
from sknn._scoring import estimator_metric, watched_metric
from sknn.network.custom import CustomNetwork, build_module, check_factory
from sknn.network.embeddings import PIECEWISE_BINS
from sknn.network.flat import FlatNetwork, Inputs
from sknn.network.mlp import MLP
from sknn.network.optimizers import SGD, Adam, FlatOptimizer, Rates, TorchOptimizer
from sknn.network.schedules import SCHEDULES
from sknn.training.batches import Table
from sknn.training.full_batch import FullBatchNet
from sknn.training.net import TrainingNet
from sknn.training.plan import Plan, TrainingSet

AUTO_BATCH = (
    (256, 16),
    (512, 32),
    (1024, 64),
    (8192, 128),
    (30_000, 256),
    (np.inf, 512),
)  # up to so many rows, this batch size
AUTO_SMALL, AUTO_MEMBERS_OF_SMALL, AUTO_MEMBERS = 1024, 12, 6  # rows of a small table, and networks in an ensemble
AUTO_EMBEDDED_COLUMNS = 100  # periodic embeddings of more columns cost more than they give
CPU = torch.device("cpu")
GRADIENT_NORM = "gradient_norm"  # among the metrics, but not one of predictions

Seed = tuple[int, int]  # of the estimator, and the member's number


# --- Parameters with more than one form ---------------------------------------------------------------------------


def hidden_sizes(est: Any) -> tuple[int, ...]:
    sizes = np.atleast_1d(np.asarray(est.hidden_layer_sizes))
    if sizes.size and (sizes.dtype.kind not in "iu" or sizes.ndim != 1 or (sizes <= 0).any()):
        raise ValueError(
            f"hidden_layer_sizes={est.hidden_layer_sizes!r}: hidden_layer_sizes must be > 0, whole numbers, one per "
            "hidden layer, for example (256, 256)."
        )
    return tuple(int(size) for size in sizes)


def dropout_rates(est: Any) -> tuple[float, ...]:
    """A rate per hidden layer."""
    n, given = len(hidden_sizes(est)), np.asarray(est.dropout, dtype=float)
    if given.ndim and len(given) != n:
        raise ValueError(
            f"dropout={est.dropout!r} has {len(given)} rates for {n} hidden layers; give one rate, or one for each."
        )
    if ((given < 0) | (given >= 1)).any():
        raise ValueError(f"dropout={est.dropout!r} must be in [0, 1): it is the fraction of units left out.")
    return tuple(float(rate) for rate in np.broadcast_to(given, n))


def batch_size(est: Any, n_rows: int) -> int:
    wanted = est.batch_size
    if wanted == "auto":
        wanted = next(size for limit, size in AUTO_BATCH if n_rows <= limit)
    return min(n_rows, int(wanted))


def wants_double(precision: str, solver: Any) -> bool:
    """A line search needs more digits than float32 has."""
    return precision == "float64" or (precision == "auto" and solver == "lbfgs")


def precision(est: Any, device: torch.device) -> Precision:
    is_double = wants_double(est.precision, est.solver) and device.type != "mps"
    return resolve_precision("float64" if is_double else est.precision, device)


def ensemble_size(est: Any, n_rows: int | None) -> int:
    """Members of a network for so many training rows, or (None) for rows that come bit by bit."""
    if est.ensemble_size != "auto":
        return int(est.ensemble_size)
    is_small = n_rows is not None and n_rows <= AUTO_SMALL
    return AUTO_MEMBERS_OF_SMALL if is_small else AUTO_MEMBERS


def member_seeds(est: Any, n_members: int) -> list[Seed]:
    seed = int(check_random_state(est.random_state).randint(np.iinfo(np.int32).max))
    return [(seed, member) for member in range(n_members)]


# --- Rows and plan ------------------------------------------------------------------------------------------------


def split(est: Any, table: Table, n_rows: int, seeds: list[Seed], holds_out: bool) -> TrainingSet:
    """Which rows each member trains on and which it is validated on: the table's after `n_rows`, or some held out."""
    device = table.target.device
    train, valid = [torch.arange(n_rows, device=device)] * len(seeds), []
    n_held = n_held_out(n_rows, est.validation_fraction) if holds_out and est.solver != "lbfgs" else 0
    if n_rows < len(table):
        valid = [torch.arange(n_rows, len(table), device=device)] * len(seeds)
    elif n_held:
        strata = est._strata(table.target)
        parts = [hold_out(n_rows, n_held, strata, seed) for seed in seeds]
        train, valid = ([torch.from_numpy(part[i]).to(device) for part in parts] for i in (0, 1))
    return TrainingSet(table, train, valid, est._labels)


def n_held_out(n_rows: int, fraction: float) -> int:
    """How many rows to hold out; 0 where the share is less than half a row, or leaves none to train on."""
    n = round(fraction * n_rows)
    return n if n < n_rows else 0


def hold_out(n_rows: int, n_held: int, strata: np.ndarray | None, seed: Seed) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and rows to validate on, stratified where every class can be on both sides."""
    if strata is not None:
        counts = np.bincount(strata)
        counts = counts[counts > 0]
        if counts.min() < 2 or min(n_held, n_rows - n_held) < len(counts):
            strata = None
    number = int(np.random.SeedSequence(seed).generate_state(1)[0])
    train, held = train_test_split(np.arange(n_rows), test_size=n_held, random_state=number, stratify=strata)
    return np.sort(train), np.sort(held)


def schedule_of(est: Any, is_stream: bool) -> str:
    """The schedule's name; a stream of rows has no known end, so a schedule that has one is constant there."""
    ends = SCHEDULES[est.learning_rate].by_share is not None
    return "constant" if is_stream and ends else est.learning_rate


def make_plan(est: Any, data: TrainingSet, seeds: list[Seed], is_stream: bool = False) -> Plan:
    n, rates = len(seeds), dropout_rates(est) if est.module is None else ()
    wanted = [est.metrics] if isinstance(est.metrics, str) else list(est.metrics or [])
    metrics = [name for name in wanted if name != GRADIENT_NORM]
    return Plan(
        seeds=seeds,
        batch_size=batch_size(est, len(data.train_rows[0])),
        max_iter=est.max_iter,
        shuffle=bool(est.shuffle),
        schedule=schedule_of(est, is_stream),
        power_t=est.power_t,
        tol=[est.tol] * n,
        n_iter_no_change=[est.n_iter_no_change] * n,
        dropout=[rates if any(rates) else ()] * n,
        label_smoothing=[getattr(est, "label_smoothing", 0.0)] * n,
        join_last_row=bool(est.batch_norm) or est.module is not None,
        watch=[watched_metric(est, est.scoring)] * n if data.valid_rows and est.scoring != "loss" else [],
        restore_best=bool(data.valid_rows),
        metrics={getattr(name, "__name__", str(name)): [estimator_metric(est, name)] * n for name in metrics},
        gradient_norm=GRADIENT_NORM in wanted,
        verbose=int(est.verbose),
    )


# --- Network and solver -------------------------------------------------------------------------------------------


def make_network(est: Any, data: TrainingSet, seeds: list[Seed]) -> FlatNetwork:
    device = data.table.target.device
    kinds = precision(est, device)
    network = (make_mlp if est.module is None else make_custom)(est, data, seeds, kinds)
    return network if network.flat.device == device else network.to(device)


def make_mlp(est: Any, data: TrainingSet, seeds: list[Seed], kinds: Precision) -> MLP:
    features, table = est._features, data.table
    check_size(est, table.width, len(seeds), kinds, table.target.device)
    n_numeric, embedding = len(features.numeric_), est.numeric_embedding
    if embedding == "auto":
        embedding = "periodic" if n_numeric <= AUTO_EMBEDDED_COLUMNS else None
    if sp.issparse(table.numbers) or not n_numeric:
        embedding = None  # most of a sparse table's numbers are 0
    network = MLP(
        len(seeds),
        n_numbers=table.width,
        n_outputs=est._network_outputs(),
        hidden=hidden_sizes(est),
        activation=est.activation,
        dropout=dropout_rates(est),
        batch_norm=bool(est.batch_norm),
        numeric_embedding=embedding,
        n_embedded=n_numeric if embedding else 0,
        n_levels=features.n_levels_,
        input_scale=est.scaling == "auto",
        initial="normal" if est.solver == "adamw" else "glorot",
        dtype=kinds.dtype,
        product_dtype=kinds.product_dtype,
    )
    edges = None
    if embedding == "piecewise_linear":
        columns = table.numbers[data.train_rows[0], :n_numeric].T.double().cpu().numpy()
        grid = np.linspace(0, 1, PIECEWISE_BINS + 1).tolist()
        edges = [torch.from_numpy(np.unique(quantiles(column, grid, None))) for column in columns]
    network.reset([stream(*seed, "weights", CPU) for seed in seeds], edges)
    return network


def check_size(est: Any, width: int, n_members: int, kinds: Precision, device: torch.device) -> None:
    """Refuse networks that no memory of the device could hold, before it is asked for any: it may promise too much."""
    sizes = (width, *hidden_sizes(est), est._network_outputs())
    weights = sum(fan_in * fan_out for fan_in, fan_out in pairwise(sizes))
    needed, there = 2 * n_members * weights * kinds.dtype.itemsize, total_memory(device)
    if needed > there:
        raise MemoryError(
            f"hidden_layer_sizes={est.hidden_layer_sizes!r} with ensemble_size={est.ensemble_size!r} makes {n_members} "
            f"networks of {weights:,} weights; these and their gradients take {needed / 1e9:,.0f} GB, and the device "
            f"has {there / 1e9:.0f} GB. Use fewer units, or a smaller ensemble_size."
        )


def total_memory(device: torch.device) -> float:
    """Bytes that the device has in all; infinite where that is not known."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if device.type == "cpu" else np.inf
    except (AttributeError, ValueError, OSError):  # not on this system
        return np.inf


def make_custom(est: Any, data: TrainingSet, seeds: list[Seed], kinds: Precision) -> CustomNetwork:
    check_factory(est.module)
    numbers = data.table.numbers
    in_features = data.table.width if numbers.ndim == 2 else tuple(numbers.shape[1:])
    starts = [stream(*seed, "weights", CPU).initial_seed() for seed in seeds]
    modules = [build_module(est.module, in_features, est._network_outputs(), start) for start in starts]
    network = CustomNetwork(modules, kinds.dtype, in_features)
    network.seed([stream(*seed, "noise", CPU).initial_seed() for seed in seeds])
    check_output(est, network, data.table.inputs(data.train_rows[0][None, :2].expand(len(seeds), -1)))
    return network


def check_output(est: Any, network: CustomNetwork, x: Inputs) -> None:
    """Refuse a custom module whose output has another shape than the target asks for."""
    rows, wanted = x.numbers.shape[1], est._network_outputs()
    x.numbers = x.numbers.to(network.flat)
    with torch.inference_mode():
        got = tuple(network.eval().outputs(x).shape[1:])
    if got != (rows, wanted):
        raise ValueError(
            f"module={est.module!r} gives an output of shape {got} for {rows} rows; this target asks for "
            f"({rows}, {wanted}). Let the last layer have the out_features that module is called with."
        )


def make_net(est: Any, network: FlatNetwork, plan: Plan, callbacks: list) -> TrainingNet:
    options: dict[str, Any] = {"lr": est.learning_rate_init, "device": str(network.flat.device)}
    make = TrainingNet
    if est.solver == "lbfgs":
        make, options = FullBatchNet, options | {"tol": est.tol, "max_fun": est.max_fun}
    solver = make_solver(est, network.n_members)
    return make(network, est._make_loss(), solver, plan, est._class_codes(), callbacks=callbacks, **options)


def make_solver(est: Any, m: int) -> partial:
    """A function of a network of `m` members that makes its solver."""
    weight_decay = est.weight_decay if est.solver == "adamw" else 0.0
    max_norm = np.inf if est.max_grad_norm is None else est.max_grad_norm
    rates = Rates([est.learning_rate_init] * m, [est.alpha] * m, [weight_decay] * m, [max_norm] * m)
    if est.solver in ("adam", "adamw"):
        by_kind = est.solver == "adamw"
        return partial(Adam, rates=rates, beta_1=est.beta_1, beta_2=est.beta_2, epsilon=est.epsilon, by_kind=by_kind)
    if est.solver == "sgd":
        return partial(SGD, rates=rates, momentum=est.momentum, nesterov=bool(est.nesterovs_momentum))
    if est.solver == "lbfgs":  # scipy moves the weights; the L2 term is ours
        return partial(FlatOptimizer, rates=rates)
    if not (isinstance(est.solver, type) and issubclass(est.solver, torch.optim.Optimizer)):
        raise TypeError(f"solver={est.solver!r} must be a name, or a torch.optim.Optimizer class (not an instance).")
    if issubclass(est.solver, torch.optim.LBFGS):
        raise ValueError("solver=torch.optim.LBFGS needs a closure; use solver='lbfgs', which is scipy's.")
    return partial(TorchOptimizer, rates=rates, optimizer=est.solver)


# --- What may train together ----------------------------------------------------------------------------------------

# What the encoded rows depend on, besides the rows.
ENCODES = (
    *("scaling", "categorical_features", "class_weight", "loss", "quantile", "delta", "module", "solver"),
    *("precision", "device"),
)
# In what the members of one training may differ: it goes into their rows, their weights, or numbers of their own.
DIFFERS = (
    *("learning_rate_init", "alpha", "weight_decay", "dropout", "label_smoothing", "random_state", "tol"),
    *("n_iter_no_change", "validation_fraction", "class_weight", "categorical_features", "max_grad_norm"),
)


def trains_with_others(est: Any) -> bool:
    """Whether the training is that of a built-in network, in steps, with nobody looking on."""
    in_steps = isinstance(est.solver, str) and est.solver != "lbfgs"
    return in_steps and est.module is None and not est.callbacks and not est.warm_start


def shape_of(est: Any) -> str:
    """What has to be equal for networks to train together, as far as the parameters tell."""
    params = est.get_params(deep=False)
    return key_of(type(est), *((name, value) for name, value in sorted(params.items()) if name not in DIFFERS))


def encoding_of(est: Any) -> str:
    """What has to be equal for networks to share encoded rows."""
    return key_of(type(est), *((name, getattr(est, name, None)) for name in ENCODES))


def layout_of(net: TrainingNet, table: Table) -> str:
    """What has to be equal for nets to train together besides their shape: what the rows have made of it."""
    network, plan = net.module, net.plan
    layers = {name: value for name, value in network.config.items() if name != "dropout"}
    kinds = type(net.criterion), network.flat.dtype, network.flat.device, sp.issparse(table.numbers), table.n_choices
    return repr((layers, kinds, plan.batch_size, plan.restore_best, table.weight is None))


def key_of(*parts: Any) -> str:
    """A key that equal things share; what cannot be pickled is only equal to itself, as long as it lives."""
    return " ".join(_key_of(part) for part in parts)


def _key_of(part: Any) -> str:
    if isinstance(part, tuple | list):
        return f"({key_of(*part)})"
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


# --- Going on with a training ---------------------------------------------------------------------------------------

STAYS = (
    *("loss", "quantile", "delta", "class_weight", "module", "ensemble_size", "activation", "batch_norm"),
    *("numeric_embedding", "precision", "scaling", "categorical_features"),
)


def what_stays(est: Any) -> dict[str, Any]:
    """The parameters that a network keeps for life, as they were when it was built."""
    fixed = {name: getattr(est, name) for name in STAYS if hasattr(est, name)}
    shape = {} if est.module is not None else {"hidden_layer_sizes": hidden_sizes(est), "dropout": dropout_rates(est)}
    return fixed | shape | {"solver": "lbfgs" if est.solver == "lbfgs" else "a stochastic one"}


def check_same_network(est: Any) -> None:
    """Refuse to go on training a network that the parameters no longer describe."""
    for name, then in est._built_with.items():
        now = what_stays(est).get(name)
        if now is not then and repr(now) != repr(then):
            raise ValueError(
                f"{name}={now!r}, but the network that warm_start or partial_fit would train on was built with "
                f"{then!r}; restore it, or fit with warm_start=False."
            )
