"""Joint training: several estimators' networks train as one, with the results of separate trainings."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from sknn.network.mixed import MixedNetwork
from sknn.network.mlp import MLP
from sknn.network.optimizers import MemberOptions
from sknn.training.net import TrainingNet
from sknn.training.plan import Plan, TrainingSet
from sknn.training.recorder import EpochRecorder
from sknn.training.table import Table
from sknn.training.weights import choose_weights

Members = list[tuple[int, int]]  # for each member of the joint net: index of its own net, and its index in that net


def train_jointly(nets: Sequence[TrainingNet], datasets: Sequence[TrainingSet]) -> None:
    """Train several nets of one architecture as the members of one net, each on its own rows.

    Parameters
    ----------
    nets : sequence of TrainingNet
        Untrained, with MLPs of the same layer sizes, part by part. Their plans may differ only in fields that are
        lists.
    datasets : sequence of TrainingSet
        The rows of each net, prepared for its network.

    Raises
    ------
    KeyboardInterrupt
        If the user interrupts the training; then no net is trained.
    """
    if len(nets) == 1:
        joint_net = nets[0].partial_fit(datasets[0])
        joint_net.__dict__.pop("optimizer_", None)
    else:
        parts = [members_of_part(nets, datasets, p) for p in range(len(nets[0].module.parts))]
        members = [member for part in parts for member in part]
        joint_net = joined_net(nets, parts).partial_fit(joined_rows(datasets, parts))
    if joint_net.stopped_by_ == "user":
        raise KeyboardInterrupt
    if len(nets) > 1:
        for i, net in enumerate(nets):
            indices = {k: index for index, (j, k) in enumerate(members) if j == i}
            copy_result(net, joint_net, [indices[k] for k in range(net.module.n_members)])
    for net, data in zip(nets, datasets, strict=True):
        choose_weights(net, data)


def members_of_part(nets: Sequence[TrainingNet], datasets: Sequence[TrainingSet], part: int) -> Members:
    """Return the members in a part of the nets, those with the most rows first, as batches need it."""
    numbers = [net.module.members_of_parts()[part] for net in nets]
    members = [(i, k) for i, of_net in enumerate(numbers) for k in range(of_net.start, of_net.stop)]
    return sorted(members, key=lambda m: -len(datasets[m[0]].train_rows[m[1]]))


def joined_net(nets: Sequence[TrainingNet], parts: Sequence[Members]) -> TrainingNet:
    """Return an untrained net of these members, with their initial weights."""
    first, members = nets[0], [member for part in parts for member in part]
    plan = joined_plan([net.plan for net in nets], parts)
    networks = [joined_network(nets, p, part) for p, part in enumerate(parts)]
    network = MixedNetwork(networks) if isinstance(first.module, MixedNetwork) else networks[0]
    options: list[MemberOptions] = [net.optimizer.options for net in nets]  # type: ignore[attr-defined]
    joined = {f.name: [getattr(options[i], f.name)[k] for i, k in members] for f in fields(MemberOptions)}
    solver = replace(first.optimizer, options=MemberOptions(**joined))  # type: ignore[type-var]
    return TrainingNet(network, first.criterion, solver, plan, first.classes, lr=first.lr, device=first.device)


def joined_network(nets: Sequence[TrainingNet], part: int, members: Members) -> MLP:
    """Return a part of a joint network, with its members' initial weights."""
    own = [net.module.parts[part] for net in nets]
    starts = [net.module.members_of_parts()[part].start for net in nets]
    options: dict[str, Any] = own[0].init_args  # type: ignore[assignment]
    has_dropout = any(any(nets[i].plan.dropout[k]) for i, k in members)
    dropout = (0.5,) * len(options["hidden"]) if has_dropout else ()  # each member's rates are in the plan
    network = MLP(**options | {"n_members": 1, "dropout": dropout})
    network.bind_views(torch.stack([own[i].param_buffer[k - starts[i]] for i, k in members]))
    return network


def joined_plan(plans: Sequence[Plan], parts: Sequence[Members]) -> Plan:
    """Return one plan for these members; its lists have one entry per member."""
    first, members = plans[0], [member for part in parts for member in part]
    lists = [f.name for f in fields(Plan) if isinstance(getattr(first, f.name), list)]
    joined: dict[str, Any] = {
        name: [getattr(plans[i], name)[k] for i, k in members] for name in lists if getattr(first, name)
    }
    metrics = {name: [plans[i].metrics[name][k] for i, k in members] for name in first.metrics}
    joined["dropout"] = [rates for part in parts for rates in joined_dropout([plans[i].dropout[k] for i, k in part])]
    return replace(first, metrics=metrics, **joined)


def joined_dropout(rates: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """Return the rates of a part's members, all as long as the longest: a member without dropout has rates of 0."""
    n_layers = max(map(len, rates))
    return [own or (0.0,) * n_layers for own in rates]


def joined_rows(datasets: Sequence[TrainingSet], parts: Sequence[Members]) -> TrainingSet:
    """Return the rows of these members, in one table for each part, which includes a shared table only once."""
    train, valid, part_tables = [], [], []
    for p, members in enumerate(parts):
        tables = list({id(data.part_tables[p]): data.part_tables[p] for data in datasets}.values())
        starts = np.cumsum([0, *(len(table) for table in tables)])
        start_of = {id(table): int(start) for table, start in zip(tables, starts, strict=False)}
        shifts = [start_of[id(data.part_tables[p])] for data in datasets]
        train += [datasets[i].train_rows[k] + shifts[i] for i, k in members]
        valid += [datasets[i].valid_rows[k] + shifts[i] for i, k in members] if datasets[0].valid_rows else []
        part_tables.append(joined_tables(tables))
    return TrainingSet(part_tables[0], train, valid, datasets[0].labels, part_tables=part_tables)


def joined_tables(tables: Sequence[Table]) -> Table:
    """Stack tables that have the same columns into one table."""
    first = tables[0]
    if len(tables) == 1:
        return first
    numeric = [table.numeric for table in tables]
    return Table(
        torch.cat(numeric) if isinstance(first.numeric, torch.Tensor) else sp.vstack(numeric, format="csr"),
        None if first.codes is None else torch.cat([table.codes for table in tables]),  # type: ignore[misc]
        torch.cat([table.target for table in tables]),
        None if first.weight is None else torch.cat([table.weight for table in tables]),  # type: ignore[misc]
        first.n_choices,
    )


def copy_result(net: TrainingNet, joint_net: TrainingNet, members: list[int]) -> None:
    """Give a net the weights, states and history of these members of a joint net."""
    net.initialize()
    del net.optimizer_
    numbers = zip(net.module_.parts, net.module_.members_of_parts(), strict=True)
    joint = zip(joint_net.module_.parts, joint_net.module_.members_of_parts(), strict=True)
    for (part, own), (joint_part, of_part) in zip(numbers, joint, strict=True):
        part.bind_views(joint_part.param_buffer[[m - of_part.start for m in members[own]]].clone())
    net.module_.eval()
    net.member_states_ = [joint_net.member_states_[m] for m in members]
    net.stopped_by_ = joint_net.stopped_by_
    recorder = EpochRecorder(net.history, net.member_history_)
    for epoch, joint_row in enumerate(joint_net.history[: max(net.epochs_)], 1):
        training = [k for k, n in enumerate(net.epochs_) if n >= epoch]
        n_rows = sum(net.rows_seen_[k] // net.epochs_[k] for k in training)
        recorder.begin({"batches": [], "epoch": epoch, "rows": n_rows})
        values = {name: [of_all[m] for m in members] for name, of_all in joint_net.member_history_[epoch].items()}
        rates = values.pop("member_learning_rate")
        for name, of_members in values.items():
            recorder.write(name.removeprefix("member_"), of_members)
        recorder.write_learning_rates(rates, rates[training[0]])
        recorder.row["dur"] = joint_row["dur"] * n_rows / joint_row["rows"]
