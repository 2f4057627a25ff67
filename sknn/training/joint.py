"""Joint training: several estimators' networks train as one, and each gets the result of a training of its own."""

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from sknn.network.mlp import MLP
from sknn.network.optimizers import Rates
from sknn.training.net import TrainingNet
from sknn.training.plan import Plan, TrainingSet
from sknn.training.recorder import EpochRecorder
from sknn.training.table import Table

Members = list[tuple[int, int]]  # of all the nets: which net, and which of its members


def train_jointly(nets: Sequence[TrainingNet], datasets: Sequence[TrainingSet]) -> None:
    """Train nets of one shape on the rows of each, as the members of one net.

    Parameters
    ----------
    nets : sequence of TrainingNet
        Untrained, of MLPs with layers of the same sizes.  Their plans differ in nothing but what is a list.
    datasets : sequence of TrainingSet
        Of each net.

    Raises
    ------
    KeyboardInterrupt
        If the user stopped the training; no net is trained then.
    """
    if len(nets) == 1:
        joint_net = nets[0].partial_fit(datasets[0])
        joint_net.__dict__.pop("optimizer_", None)
    else:
        members = [(i, k) for i, net in enumerate(nets) for k in range(net.module.n_members)]
        members.sort(key=lambda m: -len(datasets[m[0]].train_rows[m[1]]))  # as the order of batches needs it
        joint_net = joined_net(nets, members).partial_fit(joined_rows(datasets, members))
    if joint_net.stopped_by_ == "user":
        raise KeyboardInterrupt
    if len(nets) > 1:
        for i, net in enumerate(nets):
            indices = {k: index for index, (j, k) in enumerate(members) if j == i}
            adopt(net, joint_net, [indices[k] for k in range(net.module.n_members)])


def joined_net(nets: Sequence[TrainingNet], members: Members) -> TrainingNet:
    """A net with these members, as they are at their start."""
    first, plan = nets[0], joined_plan([net.plan for net in nets], members)
    drops = any(any(rates) for rates in plan.dropout)
    hidden = first.module.config["hidden"]
    noisy = (0.5,) * len(hidden) if drops else ()  # the rates themselves are in the plan
    network = MLP(**first.module.config | {"n_members": 1, "dropout": noisy})
    network.bind_views(torch.stack([nets[i].module.param_buffer[k] for i, k in members]))
    make_solver: Any = first.optimizer  # a function of the network, with the rates of its members
    rates = [net.optimizer.keywords["rates"] for net in nets]  # type: ignore[attr-defined]
    own = {f.name: [getattr(rates[i], f.name)[k] for i, k in members] for f in fields(Rates)}
    solver = partial(make_solver, rates=Rates(**own))
    return TrainingNet(network, first.criterion, solver, plan, first.classes, lr=first.lr, device=first.device)


def joined_plan(plans: Sequence[Plan], members: Members) -> Plan:
    """One plan for these members: what is a list has the entries of each."""
    first = plans[0]
    lists = [f.name for f in fields(Plan) if isinstance(getattr(first, f.name), list)]
    own: dict[str, Any] = {
        name: [getattr(plans[i], name)[k] for i, k in members] for name in lists if getattr(first, name)
    }
    metrics = {name: [plans[i].metrics[name][k] for i, k in members] for name in first.metrics}
    layers = max(len(rates) for rates in own["dropout"])
    own["dropout"] = [rates or (0.0,) * layers for rates in own["dropout"]]
    return replace(first, metrics=metrics, **own)


def joined_rows(datasets: Sequence[TrainingSet], members: Members) -> TrainingSet:
    """The rows of these members, in one table that holds each of theirs once."""
    tables = list({id(data.table): data.table for data in datasets}.values())
    starts = np.cumsum([0, *(len(table) for table in tables)])
    start_of = {id(table): int(start) for table, start in zip(tables, starts, strict=False)}
    shifts = [start_of[id(data.table)] for data in datasets]
    train = [datasets[i].train_rows[k] + shifts[i] for i, k in members]
    valid = [datasets[i].valid_rows[k] + shifts[i] for i, k in members] if datasets[0].valid_rows else []
    return TrainingSet(joined_tables(tables), train, valid, datasets[0].labels)


def joined_tables(tables: Sequence[Table]) -> Table:
    """Tables of the same columns, one below the other."""
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


def adopt(net: TrainingNet, joint_net: TrainingNet, members: list[int]) -> None:
    """Give a net the result that these members of a joint training have reached."""
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
