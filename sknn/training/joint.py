"""The trainings of several estimators as one batched network, after which each has what it would have reached alone."""

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
        company = nets[0].partial_fit(datasets[0])
        company.__dict__.pop("optimizer_", None)
    else:
        members = [(i, k) for i, net in enumerate(nets) for k in range(net.module.n_members)]
        members.sort(key=lambda m: -len(datasets[m[0]].train_rows[m[1]]))  # as the order of batches needs it
        company = joined_net(nets, members).partial_fit(joined_rows(datasets, members))
    if company.stopped_by_ == "user":
        raise KeyboardInterrupt
    if len(nets) > 1:
        for i, net in enumerate(nets):
            places = {k: place for place, (j, k) in enumerate(members) if j == i}
            take_over(net, company, [places[k] for k in range(net.module.n_members)])


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


def take_over(net: TrainingNet, company: TrainingNet, places: list[int]) -> None:
    """Let a net become what another, that trained its members among others, has made of them at these places."""
    net.initialize()
    del net.optimizer_
    net._smallest = {}
    net.module_.bind_views(company.module_.param_buffer[places].clone())
    net.module_.eval()
    own = dict(enumerate(places))
    net.epochs_, net.rows_seen_ = [company.epochs_[m] for m in places], [company.rows_seen_[m] for m in places]
    net.diverged_members_ = {k: company.diverged_members_[m] for k, m in own.items() if m in company.diverged_members_}
    net.failed_members_ = [k for k, m in own.items() if m in company.failed_members_]
    net.unconverged_members_ = [k for k, m in own.items() if m in company.unconverged_members_]
    net.stopped_by_ = company.stopped_by_
    for name in ("best", "best_epoch", "epochs_without_improvement"):
        setattr(net.progress_, name, [getattr(company.progress_, name)[m] for m in places])
    net.progress_.best_rows = [None] * len(places)
    for epoch, row in enumerate(company.history[: max(net.epochs_)], 1):
        rows = sum(seen // n for seen, n in zip(net.rows_seen_, net.epochs_, strict=True) if n >= epoch)
        net._row = {"batches": [], "epoch": epoch, "rows": rows, "dur": row["dur"] * rows / row["rows"]}
        list.append(net.history, net._row)
        of_all = company.members_[epoch]
        for name, values in of_all.items():
            if name != "member_learning_rate":
                net._record_mean(name.removeprefix("member_"), [values[m] for m in places])
        rates = [of_all["member_learning_rate"][m] for m in places]
        net._row["learning_rate"] = next(rate for rate, n in zip(rates, net.epochs_, strict=True) if n >= epoch)
        if len(places) > 1:
            net._members_of_epoch()["member_learning_rate"] = rates
    for name in ("_row", "_smallest"):
        net.__dict__.pop(name, None)
