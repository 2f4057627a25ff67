"""Convert a fitted net to plain data (numbers, strings, lists, dicts, numpy arrays) and back, for pickles and files.

Weights are stored by name, so that the data does not depend on their order in the parameter buffer. The rows, the
callbacks and the device are not stored; the optimizer's state is stored only if `partial_fit` continues with it.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sknn.network.base import EnsembleNetwork, Entry, Network
from sknn.network.custom import CustomNetwork, build_module
from sknn.network.generator_mode import GeneratorMode
from sknn.network.mixed import MixedNetwork
from sknn.network.mlp import MLP
from sknn.training.build import CPU, make_net
from sknn.training.members import MemberState
from sknn.training.net import TrainingNet
from sknn.training.plan import Plan
from sknn.training.resume import on_cpu
from sknn.utils.random import member_generator

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
NAMES = {dtype: name for name, dtype in DTYPES.items()}

# The attributes of a net that are stored, besides its weights and members.
NET_ATTRIBUTES = ("stopped_by_", "keeps_optimizer", "member_history_", "batch_size")


# --- A net as plain data ------------------------------------------------------------------------------------------


def net_to_state(est: Any) -> dict[str, Any]:
    """Return plain data from which `net_from_state` makes the estimator's net again."""
    net = est.net_
    return {
        "parts": [_part_to_state(part) for part in net.module_.parts],
        "noise": _noise_states(net.module_) if est.warm_start or net.keeps_optimizer else None,
        "optimizer": _solver_state(net),
        "history": [dict(row) for row in net.history],
        "members": [asdict(state) for state in net.member_states_],
        "net": {name: getattr(net, name) for name in NET_ATTRIBUTES},
    }


def _part_to_state(network: EnsembleNetwork) -> dict[str, Any]:
    """Return a part of the network: what builds it, its weights, and the names of those that training leaves alone."""
    return {
        "network": _description(network),
        "arrays": _arrays_by_name(network, network.param_buffer) | _counters(network),
        "frozen": [name for name, p in network.named_parameters() if not p.requires_grad],
    }


def _description(network: EnsembleNetwork) -> dict[str, Any]:
    """Return the arguments that build the network, without its weights."""
    if isinstance(network, CustomNetwork):
        return {"in_features": network.in_features, "dtype": NAMES[network.param_buffer.dtype]}
    config: dict[str, Any] = {name: value for name, value in network.init_args.items() if name != "n_members"}  # type: ignore[union-attr, operator]
    return config | {name: NAMES.get(config[name]) for name in ("dtype", "product_dtype")}


def _named(network: EnsembleNetwork) -> dict[str, Entry]:
    """Return the network's entries by parameter name; in a custom network, the names are those of the user's module."""
    owners = {module: name for name, module in network.named_modules()}
    return {f"{owners[entry.owner]}.{entry.name}".removeprefix("members.0."): entry for entry in network.entries}


def _arrays_by_name(network: EnsembleNetwork, buffer: Tensor) -> dict[str, np.ndarray]:
    """Return copies of the parts of a buffer (M, row length), by name: arrays (M, *shape)."""
    buffer = buffer.detach().cpu()
    return {name: network.view(buffer, entry).numpy().copy() for name, entry in _named(network).items()}


def _counters(network: EnsembleNetwork) -> dict[str, np.ndarray]:
    """Return a custom module's integer and boolean buffers, (M, *shape); the parameter buffer holds floats only."""
    if not isinstance(network, CustomNetwork):
        return {}
    buffers = [dict(member.named_buffers()) for member in network.members]
    names = [name for name, buffer in buffers[0].items() if not buffer.is_floating_point()]
    return {name: torch.stack([own[name].cpu() for own in buffers]).numpy() for name in names}


def _noise_states(network: Network) -> list[np.ndarray] | None:
    """Return the states of custom modules' generators; None on a GPU, whose states fit no other device."""
    modes = getattr(network, "generator_modes", None)
    if modes is None or network.device.type == "cuda":
        return None
    return [mode.states["cpu"].numpy().copy() for mode in modes]


def _solver_state(net: TrainingNet) -> list[dict[str, Any]] | None:
    """Return the state of each part's optimizer, if training goes on with it."""
    if not net.keeps_optimizer:
        return None
    state = net.optimizer_.state_dict() if "optimizer_" in net.__dict__ else net.__dict__.get("optimizer_state")
    if state is None:
        return None
    of_parts = []
    for network, of_part in zip(net.module_.parts, state.get("parts", [state]), strict=True):
        buffers = {name: _arrays_by_name(network, buffer) for name, buffer in of_part["state"].items()}
        of_parts.append(_map_leaves(of_part, Tensor, lambda t: t.detach().cpu().numpy().copy()) | {"state": buffers})
    return of_parts


def _map_leaves(tree: Any, leaf_type: type, function: Any) -> Any:
    """Apply a function to every leaf of a type in nested dicts, lists and tuples."""
    if isinstance(tree, dict):
        return {key: _map_leaves(value, leaf_type, function) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_map_leaves(value, leaf_type, function) for value in tree)
    return function(tree) if isinstance(tree, leaf_type) else tree


# --- And back -----------------------------------------------------------------------------------------------------


def net_from_state(est: Any, state: Mapping[str, Any]) -> TrainingNet:
    """Return the net that `net_to_state` described, on the CPU, for an estimator that has its other attributes.

    Raises
    ------
    ValueError
        If the arrays do not fit the network, or the network does not fit the encoders.
    """
    built = _as_built(est)
    parts = [_part_from_state(built, part) for part in state["parts"]]
    network = parts[0] if len(parts) == 1 else MixedNetwork(parts)
    _restore_noise(network, state)
    plan = Plan(seeds=[], batch_size=int(state["net"]["batch_size"]), max_iter=int(est.max_iter))
    net = make_net(built, network, plan, [])
    solver, net.optimizer = net.optimizer, lambda network: None  # `resume` makes one if training goes on
    net.initialize_untrained().optimizer = solver
    del net.optimizer_
    list.extend(net.history, state["history"])
    net.member_states_ = [MemberState(**member) for member in state["members"]]
    for name in NET_ATTRIBUTES:
        setattr(net, name, state["net"][name])
    if state["optimizer"] is not None:
        solvers = [_solver_from_state(*pair) for pair in zip(parts, state["optimizer"], strict=True)]
        net.optimizer_state = solvers[0] if len(parts) == 1 else {"parts": solvers}
    return net


def _part_from_state(built: Any, state: Mapping[str, Any]) -> EnsembleNetwork:
    network = _network(built, state["network"], state["arrays"])
    for name in state["frozen"]:
        network.get_parameter(name).requires_grad_(False)
    return network


def _solver_from_state(network: EnsembleNetwork, state: Mapping[str, Any]) -> dict[str, Any]:
    buffers = {name: _packed(network, arrays) for name, arrays in state["state"].items()}
    rest = {name: value for name, value in state.items() if name != "state"}
    return _map_leaves(rest, np.ndarray, torch.from_numpy) | {"state": buffers}


def _as_built(est: Any) -> Any:
    """Return the estimator with the parameters with which its network was built; they may have changed since."""
    built: Any = object.__new__(type(est))
    then = {name: value for name, value in est._built_with.items() if name != "solver"}
    if (est.solver == "lbfgs") != (est._built_with["solver"] == "lbfgs"):
        then["solver"] = "adamw" if est.solver == "lbfgs" else "lbfgs"
    built.__dict__ = est.__dict__ | then
    return built


def _network(built: Any, description: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> EnsembleNetwork:
    """Return the network with its weights. Everything is checked before memory is allocated: a file may be forged."""
    dtype = DTYPES[description["dtype"]]
    n_members = min((len(array) for array in arrays.values()), default=0)
    if n_members < 1:
        raise ValueError("the network has no members")
    if built.module is not None:
        network: EnsembleNetwork = _empty_custom(built, description["in_features"], dtype, n_members, arrays)
        _restore_counters(network, arrays)
    else:
        network = _empty_mlp(built, {**description, "dtype": dtype}, len(arrays))
    own = {name: arrays[name] for name in arrays if name not in _counters(network)}
    network.bind_views(_packed(network, own))
    return network.eval()


def _empty_mlp(built: Any, config: dict[str, Any], n_arrays: int) -> MLP:
    """Return an MLP of no members, which takes no memory, if it fits the encoders and the target."""
    if config["product_dtype"] is not None:
        config["product_dtype"] = DTYPES[config["product_dtype"]]
    features = built._features
    expected = (features.n_numeric_, tuple(features.n_levels_), built._network_outputs())
    actual = (config["n_numeric"], tuple(config["n_levels"]), config["n_outputs"])
    if expected != actual:
        raise ValueError(f"the encoders and the target need a network of sizes {expected}, and it has {actual}")
    if len(config["hidden"]) > n_arrays:
        raise ValueError(f"{len(config['hidden'])} hidden layers can't come from {n_arrays} arrays")
    return MLP(**config, n_members=0)


def _empty_custom(
    built: Any, in_features: Any, dtype: torch.dtype, n_members: int, arrays: Mapping[str, np.ndarray]
) -> CustomNetwork:
    """Return a custom network. The first member is built and compared with the arrays before the others are built."""
    if built._features is not None and in_features != built._features.n_numeric_:
        raise ValueError(
            f"the encoders give {built._features.n_numeric_} features, and the module expects {in_features}"
        )
    first = build_module(built.module, in_features, built._network_outputs(), 0)
    network = CustomNetwork([first], dtype, in_features)
    shapes = {name: tuple(entry.shape) for name, entry in _named(network).items()}
    shapes |= {name: counter.shape[1:] for name, counter in _counters(network).items()}
    expected = {name: (n_members, *shape) for name, shape in shapes.items()}
    actual = {name: array.shape for name, array in arrays.items()}
    if expected != actual:
        raise ValueError(
            f"the module given does not fit the file's arrays: it has {_listed(expected)}, and they are "
            f"{_listed(actual)}"
        )
    others = [build_module(built.module, in_features, built._network_outputs(), 0) for _ in range(n_members - 1)]
    return CustomNetwork([first, *others], dtype, in_features)


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return the first few names with their shapes, for a message."""
    listed = [f"{name} {shape}" for name, shape in sorted(shapes.items())]
    return ", ".join(listed[:6]) + ", ..." * (len(listed) > 6)


def _packed(network: EnsembleNetwork, arrays: Mapping[str, np.ndarray]) -> Tensor:
    """Return a buffer (M, row length) of the network that holds these arrays."""
    entries = _named(network)
    if entries.keys() != arrays.keys():
        raise ValueError(f"the network has arrays named {sorted(entries)}, and the file has {sorted(arrays)}")
    dtype, n_members = network.param_buffer.dtype, len(next(iter(arrays.values())))
    for name, entry in entries.items():
        expected, actual = (n_members, *entry.shape), arrays[name].shape
        if expected != actual or str(arrays[name].dtype) != NAMES[dtype]:
            raise ValueError(
                f"{name} has to be {NAMES[dtype]} of shape {expected}; got {arrays[name].dtype} of shape {actual}"
            )
    buffer = torch.zeros(n_members, network.param_buffer.shape[1], dtype=dtype)
    for name, entry in entries.items():
        network.view(buffer, entry).copy_(torch.from_numpy(arrays[name]))
    return buffer


def _restore_counters(network: EnsembleNetwork, arrays: Mapping[str, np.ndarray]) -> None:
    for name, present in _counters(network).items():
        if name not in arrays or arrays[name].shape != present.shape or arrays[name].dtype != present.dtype:
            raise ValueError(f"the module's buffer {name} has to be {present.dtype} of shape {present.shape}")
        for member, value in zip(network.members, arrays[name], strict=True):  # type: ignore[arg-type]
            member.get_buffer(name).copy_(torch.as_tensor(value))


def _restore_noise(network: Network, state: Mapping[str, Any]) -> None:
    """Give custom modules their stored generators, or new ones that are the same each time."""
    if not isinstance(network, CustomNetwork):
        return
    if state["noise"] is not None:
        network.generator_modes = [
            GeneratorMode.from_states({"cpu": torch.from_numpy(noise.copy())}) for noise in state["noise"]
        ]
        return
    _seed_noise(network, len(state["history"]))


def _seed_noise(network: CustomNetwork, epochs: int) -> None:
    network.seed([member_generator(0, m, "noise", CPU, epochs).initial_seed() for m in range(network.n_members)])


def move_net(net: TrainingNet, device: torch.device) -> None:
    """Move a net to a device, with the optimizer state that `partial_fit` continues with."""
    before = net.module_.device
    network = net.module_.to(device)
    net.device = str(device)
    solver = net.__dict__.pop("optimizer_", None)
    if solver is not None and net.keeps_optimizer:
        net.optimizer_state = on_cpu(solver.state_dict())
    if isinstance(network, CustomNetwork) and "cuda" in (device.type, before.type):
        _seed_noise(network, len(net.history))
