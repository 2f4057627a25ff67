"""Joint training: several estimators' networks train as one, with the results of separate trainings."""

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from sknn.network.mlp import MLP
from sknn.network.optimizers import MemberOptions
from sknn.training.net import TrainingNet
from sknn.training.plan import Plan, TrainingSet
from sknn.training.recorder import EpochRecorder
from sknn.training.table import Table

Members = list[tuple[int, int]]  # for each member of the joint net: index of its own net, and its index in that net


def train_jointly(nets: Sequence[TrainingNet], datasets: Sequence[TrainingSet]) -> None:
    """Train several nets of one architecture as the members of one net, each on its own rows.

    Parameters
    ----------
    nets : sequence of TrainingNet
        Untrained, with MLPs of the same layer sizes. Their plans may differ only in fields that are lists.
    datasets : sequence of TrainingSet
        The rows of each net.

    Raises
    ------
    KeyboardInterrupt
        If the user interrupts the training; then no net is trained.
    """
    if len(nets) == 1:
        joint_net = nets[0].partial_fit(datasets[0])
        joint_net.__dict__.pop("optimizer_", None)
    else:
        members = [(i, k) for i, net in enumerate(nets) for k in range(net.module.n_members)]
        members.sort(key=lambda m: -len(datasets[m[0]].train_rows[m[1]]))  # most rows first, as batches need it
        joint_net = joined_net(nets, members).partial_fit(joined_rows(datasets, members))
    if joint_net.stopped_by_ == "user":
        raise KeyboardInterrupt
    if len(nets) > 1:
        for i, net in enumerate(nets):
            indices = {k: index for index, (j, k) in enumerate(members) if j == i}
            copy_result(net, joint_net, [indices[k] for k in range(net.module.n_members)])


def joined_net(nets: Sequence[TrainingNet], members: Members) -> TrainingNet:
    """Return an untrained net of these members, with their initial weights."""
    first, plan = nets[0], joined_plan([net.plan for net in nets], members)
    has_dropout = any(any(rates) for rates in plan.dropout)
    dropout = (
        (0.5,) * len(first.module.init_args["hidden"]) if has_dropout else ()
    )  # each member's rates are in the plan
    network = MLP(**first.module.init_args | {"n_members": 1, "dropout": dropout})
    network.bind_views(torch.stack([nets[i].module.param_buffer[k] for i, k in members]))
    make_optimizer: Any = first.optimizer  # a function of the network, with its members' options
    options = [net.optimizer.keywords["options"] for net in nets]  # type: ignore[attr-defined]
    joined = {f.name: [getattr(options[i], f.name)[k] for i, k in members] for f in fields(MemberOptions)}
    optimizer = partial(make_optimizer, options=MemberOptions(**joined))
    return TrainingNet(network, first.criterion, optimizer, plan, first.classes, lr=first.lr, device=first.device)


def joined_plan(plans: Sequence[Plan], members: Members) -> Plan:
    """Return one plan for these members; its lists have one entry per member."""
    first = plans[0]
    lists = [f.name for f in fields(Plan) if isinstance(getattr(first, f.name), list)]
    joined: dict[str, Any] = {
        name: [getattr(plans[i], name)[k] for i, k in members] for name in lists if getattr(first, name)
    }
    metrics = {name: [plans[i].metrics[name][k] for i, k in members] for name in first.metrics}
    n_layers = max(len(rates) for rates in joined["dropout"])
    joined["dropout"] = [rates or (0.0,) * n_layers for rates in joined["dropout"]]
    return replace(first, metrics=metrics, **joined)


def joined_rows(datasets: Sequence[TrainingSet], members: Members) -> TrainingSet:
    """Return the rows of these members in one table, which includes a shared table only once."""
    tables = list({id(data.table): data.table for data in datasets}.values())
    starts = np.cumsum([0, *(len(table) for table in tables)])
    start_of = {id(table): int(start) for table, start in zip(tables, starts, strict=False)}
    shifts = [start_of[id(data.table)] for data in datasets]
    train = [datasets[i].train_rows[k] + shifts[i] for i, k in members]
    valid = [datasets[i].valid_rows[k] + shifts[i] for i, k in members] if datasets[0].valid_rows else []
    return TrainingSet(joined_tables(tables), train, valid, datasets[0].labels)


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
    net.module_.bind_views(joint_net.module_.param_buffer[members].clone())
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
        recorder.write_learning_rates(rates, training[0])
        recorder.row["dur"] = joint_row["dur"] * n_rows / joint_row["rows"]
