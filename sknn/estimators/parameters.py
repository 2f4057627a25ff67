"""The constructor's parameters: name, default, constraint and description of each, written once.

The estimators are dataclasses over these fields, so `__init__`, scikit-learn's `_parameter_constraints` and the
docstrings all come from here.
"""

import dataclasses
import enum
import textwrap
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions
from skorch.callbacks import Callback

from sknn.network.activations import ACTIVATIONS
from sknn.network.embeddings import NUMERIC_EMBEDDINGS
from sknn.network.schedules import SCHEDULES

SOLVERS = ("adamw", "adam", "sgd", "lbfgs")
AT_LEAST_0 = Interval(Real, 0, None, closed="left")
ABOVE_0 = Interval(Real, 0, None, closed="neither")
AT_LEAST_1 = Interval(Integral, 1, None, closed="left")
FRACTION = Interval(Real, 0, 1, closed="left")


class Use(enum.Flag):
    """What a parameter decides, besides the fits that a search trains one by one.

    ENCODING: how the rows are encoded, so fits that differ in it can't share encoded rows.
    NETWORK: what the network is, so training it further needs the same value.
    PER_MEMBER: something that each member of a joint training has for itself; in all others the members have to agree.
    TRAINING: how the training goes, and nothing of the above.
    """

    TRAINING = 0
    ENCODING = enum.auto()
    NETWORK = enum.auto()
    PER_MEMBER = enum.auto()


def parameter(default: Any, constraints: list, kind: str, text: str, *, use: Use, positional: bool = False) -> Any:
    """Return a dataclass field; `kind` and `text` are its entry in the docstring."""
    metadata = {"constraints": constraints, "kind": kind, "text": text, "use": use}
    return dataclasses.field(default=default, metadata=metadata, kw_only=not positional)


def constraints_of(cls: type) -> dict[str, list]:
    """What scikit-learn calls `_parameter_constraints`."""
    return {f.name: f.metadata["constraints"] for f in dataclasses.fields(cls) if "constraints" in f.metadata}


def names_used_for(cls: type, use: Use) -> list[str]:
    """Return the names of a class's parameters with this use."""
    return [f.name for f in dataclasses.fields(cls) if use in f.metadata.get("use", Use.TRAINING)]


def describe(cls: type) -> str:
    """The parameters as lines of a numpydoc section."""
    lines = []
    for f in dataclasses.fields(cls):
        if "kind" in f.metadata:
            lines.append(f"    {f.name} : {f.metadata['kind']}, default={f.default!r}")
            lines += textwrap.wrap(f.metadata["text"], 112, initial_indent=" " * 8, subsequent_indent=" " * 8)
            lines.append("")
    return "\n".join(lines).strip()


def names(options: Any) -> str:
    return "{" + ", ".join(repr(option) for option in options) + "}"


@dataclasses.dataclass(eq=False, repr=False)
class Parameters:
    """What `NeuralClassifier` and `NeuralRegressor` have in common."""

    hidden_layer_sizes: Any = parameter(
        (256, 256),
        ["array-like", AT_LEAST_1],
        "int or array-like of int",
        "Units of each hidden layer; `()` is a linear model. Two layers of 256 are wide enough for most tables.",
        positional=True,
        use=Use.TRAINING,
    )
    activation: str = parameter(
        "silu",
        [StrOptions(set(ACTIVATIONS))],
        names(ACTIVATIONS),
        "Activation of the hidden layers.",
        positional=True,
        use=Use.NETWORK,
    )
    solver: Any = parameter(
        "adamw",
        [StrOptions(set(SOLVERS)), callable],
        names(SOLVERS) + " or a torch.optim.Optimizer class",
        "'adamw' is Adam with decoupled `weight_decay` (arXiv 1711.05101), a rate for each kind of parameter, and "
        "initial weights after RealMLP (arXiv 2407.04491); 'adam' and 'sgd' are scikit-learn's; "
        "'lbfgs' is scipy's, on all rows at once, and suits a few hundred rows. A class of torch is called as "
        "`solver(parameters, lr=learning_rate_init)`, once per member.",
        use=Use.ENCODING,
    )
    alpha: float = parameter(
        0.0,
        [AT_LEAST_0],
        "float",
        "L2 penalty on the weights, divided by the batch's weight sum as in scikit-learn. 0 by default because "
        "`weight_decay` does the same with less harm to Adam's steps.",
        use=Use.PER_MEMBER,
    )
    weight_decay: float = parameter(
        0.01,
        [AT_LEAST_0],
        "float",
        "Share of the weights (not the biases) that a step takes away, times the learning rate. Only used when "
        "solver='adamw'.",
        use=Use.PER_MEMBER,
    )
    batch_size: Any = parameter(
        "auto",
        [StrOptions({"auto"}), AT_LEAST_1],
        "int or 'auto'",
        "Rows of a step. 'auto' goes by the training rows: 16 up to 256 rows, 32 up to 512, 64 up to 1,024, 128 up to "
        "8,192, 256 up to 30,000 and 512 above, so that a fit takes enough steps on small data and large products on "
        "big data.",
        use=Use.TRAINING,
    )
    learning_rate: str = parameter(
        "cosine",
        [StrOptions(set(SCHEDULES))],
        names(SCHEDULES),
        "How the learning rate goes over `max_iter` epochs. 'cosine' falls to 0, which is worth more than a good "
        "guess of the rate; 'constant', 'invscaling' and 'adaptive' are scikit-learn's; 'one_cycle' rises and falls; "
        "'reduce_on_plateau' divides by 10 where 'adaptive' divides by 5. Under `partial_fit`, which has no known end, "
        "'cosine' and 'one_cycle' are constant. Not used by solver='lbfgs'.",
        use=Use.TRAINING,
    )
    learning_rate_init: float = parameter(
        6e-3,
        [ABOVE_0],
        "float",
        "The (largest) learning rate, for 'adamw' with its cosine schedule; 'sgd' asks for more, a constant rate for "
        "less. Not used by solver='lbfgs'.",
        use=Use.PER_MEMBER,
    )
    max_grad_norm: Any = parameter(
        None,
        [ABOVE_0, None],
        "float or None",
        "The longest gradient of a member, penalty included. A longer one is shortened to it before the step, as by "
        "torch's `clip_grad_norm_`, each member's by itself. None leaves gradients alone, since the defaults need no "
        "clipping; 1.0 is usual where a training diverges. Not used by solver='lbfgs'.",
        use=Use.PER_MEMBER,
    )
    power_t: float = parameter(
        0.5,
        [AT_LEAST_0],
        "float",
        "Exponent of the rows seen, only used when learning_rate='invscaling'.",
        use=Use.TRAINING,
    )
    max_iter: int = parameter(
        40,
        [AT_LEAST_1],
        "int",
        "Epochs at most; with solver='lbfgs', iterations. A cosine schedule is spread over all of them; 40 at a large "
        "rate are worth 60 at half of it.",
        use=Use.TRAINING,
    )
    shuffle: Any = parameter(
        True,
        ["boolean"],
        "bool",
        "Whether each epoch goes through the rows in a new order. Not used by solver='lbfgs'.",
        use=Use.TRAINING,
    )
    random_state: Any = parameter(
        None,
        ["random_state"],
        "int, RandomState instance or None",
        "Decides initial weights, held-out rows, row order and dropout. An int gives the same result at every call of "
        "`fit`. With an int or a RandomState, torch's and numpy's global generators are neither read nor changed; None "
        "takes a seed from numpy's, as everywhere in scikit-learn.",
        use=Use.PER_MEMBER,
    )
    tol: float = parameter(
        1e-4,
        [AT_LEAST_0],
        "float",
        "An epoch counts as an improvement if the watched loss or score gets better by `tol`, in units of the scaled "
        "target.",
        use=Use.PER_MEMBER,
    )
    verbose: Any = parameter(
        False,
        ["verbose"],
        "bool or int",
        "What a fit tells: with 1 a bar over the epochs, by tqdm, with 2 a line for each, in colours if rich is "
        "installed. Without tqdm, 1 prints lines too. A fit is quiet by default, and always in the processes "
        "and threads of a parallel search.",
        use=Use.TRAINING,
    )
    warm_start: Any = parameter(
        False,
        ["boolean"],
        "bool",
        "Whether `fit` starts from the weights of the call before, which needs the same columns, classes and layers.",
        use=Use.TRAINING,
    )
    momentum: float = parameter(
        0.9,
        [Interval(Real, 0, 1, closed="both")],
        "float",
        "Only used when solver='sgd'.",
        use=Use.TRAINING,
    )
    nesterovs_momentum: Any = parameter(
        True,
        ["boolean"],
        "bool",
        "Whether to use Nesterov's momentum. Only used when solver='sgd'.",
        use=Use.TRAINING,
    )
    early_stopping: Any = parameter(
        True,
        ["boolean"],
        "bool",
        "Whether each member holds out rows of its own (`validation_fraction`, stratified by class), stops when they "
        "no longer improve, and gets back the weights of its best epoch. With an ensemble every row still trains most "
        "members. Without it, or with `X_val` in `fit`, no row is held out. Not used by solver='lbfgs'.",
        use=Use.TRAINING,
    )
    validation_fraction: float = parameter(
        0.15,
        [Interval(Real, 0, 1, closed="left")],
        "float",
        "Share of the rows that each member holds out. Only used when early_stopping=True. Less than half a row, as of "
        "three rows by default, holds none out, and the fit is that of early_stopping=False.",
        use=Use.PER_MEMBER,
    )
    beta_1: float = parameter(
        0.9,
        [FRACTION],
        "float",
        "Decay of Adam's mean of the gradient. Only used when solver is 'adam' or 'adamw'.",
        use=Use.TRAINING,
    )
    beta_2: float = parameter(
        0.97,
        [FRACTION],
        "float",
        "Decay of Adam's mean of its square, sooner than the usual 0.999 because a fit has only some thousand steps. "
        "Only used when solver is 'adam' or 'adamw'.",
        use=Use.TRAINING,
    )
    epsilon: float = parameter(
        1e-8,
        [ABOVE_0],
        "float",
        "Keeps Adam from dividing by 0. Only used when solver is 'adam' or 'adamw'.",
        use=Use.TRAINING,
    )
    n_iter_no_change: Any = parameter(
        12,
        [AT_LEAST_1, Options(Real, {np.inf})],
        "int or inf",
        "A member stops after more than this many epochs in a row without improvement.",
        use=Use.PER_MEMBER,
    )
    max_fun: int = parameter(
        15000,
        [AT_LEAST_1],
        "int",
        "Evaluations of the loss at most. Only used when solver='lbfgs'.",
        use=Use.TRAINING,
    )
    dropout: Any = parameter(
        0.15,
        [FRACTION, "array-like"],
        "float or array-like of float",
        "Fraction of each hidden layer's units dropped in a step, one for all layers or one each. Not used by "
        "solver='lbfgs'.",
        use=Use.PER_MEMBER,
    )
    batch_norm: Any = parameter(
        False,
        ["boolean"],
        "bool",
        "Whether to normalise over the batch before each activation; every row counts once there, whatever its "
        "weight. A last batch of one row joins the one before. Off, since two or three layers on "
        "scaled numbers train well without it.",
        use=Use.NETWORK,
    )
    scaling: Any = parameter(
        "auto",
        [None, StrOptions({"standard", "robust", "quantile", "auto"})],
        "{'auto', 'robust', 'standard', 'quantile'} or None",
        "Of the numbers. 'robust' is by median and interquartile range with a smooth clip x / sqrt(1 + (x / 3)^2); "
        "'auto' is the same, and has the network learn a factor for each of its inputs; 'quantile' maps to normal "
        "quantiles. None leaves the numbers, and a "
        "regressor's y, alone. A sparse table is not centred, only divided by its largest absolute values.",
        use=Use.ENCODING | Use.NETWORK,
    )
    numeric_embedding: Any = parameter(
        None,
        [None, StrOptions({*NUMERIC_EMBEDDINGS, "auto"})],
        "{'periodic', 'piecewise_linear', 'auto'} or None",
        "How numbers enter the network besides as they are: by cosines (arXiv 2407.04491) or by how far they come "
        "through their bins (arXiv 2203.05556). 'auto' takes 'periodic' for up to 100 numeric columns.",
        use=Use.NETWORK,
    )
    categorical_features: Any = parameter(
        "from_dtype",
        ["array-like", StrOptions({"from_dtype"}), None],
        "'from_dtype', array-like of names, indices or mask, or None",
        "Which columns are categories. 'from_dtype' takes those that hold strings or are declared categorical. Up to 8 "
        "levels become one-hot columns, more get an embedding; missing and unseen ones are all zeros, or code 0, "
        "whose vector is learned from a tenth of the levels, taken for unknown in each step. Of more than 1,000 levels "
        "the most frequent are kept, with a warning.",
        use=Use.ENCODING | Use.NETWORK | Use.PER_MEMBER,
    )
    ensemble_size: Any = parameter(
        "auto",
        [StrOptions({"auto"}), AT_LEAST_1],
        "int or 'auto'",
        "Number of networks that train side by side, as one batched network, and whose predictions are averaged. The "
        "first few are worth most. 'auto' takes 6; up to 1,024 training rows 12, which cost little there, and do more "
        "for a few rows than anything else.",
        use=Use.NETWORK,
    )
    scoring: Any = parameter(
        "loss",
        [str, callable, None],
        "str, callable or None",
        "What early stopping watches: 'loss'; None for the estimator's own score (accuracy, R2, for quantiles D2), "
        "as in scikit-learn's MLP; or a scorer. The loss is smoother than any score of a few rows.",
        use=Use.TRAINING,
    )
    metrics: Any = parameter(
        None,
        ["array-like", str, None],
        "list of str, or None",
        "Recorded in `history_` after every epoch, on training and validation rows: 'accuracy', 'roc_auc', 'log_loss', "
        "'r2', 'rmse', which cost little, or any scikit-learn scorer, at its own cost. On training rows they come from "
        "the outputs of the steps, as the training loss does. 'gradient_norm' adds the mean over an epoch's steps of "
        "the gradient's length, penalty included. Not used by solver='lbfgs'.",
        use=Use.TRAINING,
    )
    callbacks: Any = parameter(
        None,
        ["array-like", Callback, None],
        "list of skorch callbacks, one of them, or None",
        "The estimator trains copies, with all members as one net.",
        use=Use.TRAINING,
    )
    device: str = parameter(
        "auto",
        [str],
        "{'auto', 'cpu', 'cuda', 'mps', 'xla'} or a numbered 'cuda:1'",
        "Where to train and predict. 'auto' takes a GPU if there is one.",
        use=Use.ENCODING,
    )
    precision: str = parameter(
        "auto",
        [StrOptions({"auto", "float32", "float64", "bfloat16"})],
        "{'auto', 'float32', 'float64', 'bfloat16'}",
        "Of the parameters and the arithmetic; 'bfloat16' of the matrix products only. 'auto' is float32, "
        "but float64 for solver='lbfgs', and for predictions of float64 rows on a CPU.",
        use=Use.ENCODING | Use.NETWORK,
    )
    n_threads: Any = parameter(
        "auto",
        [AT_LEAST_1, StrOptions({"auto"})],
        "int or 'auto'",
        "CPU threads that fit and predict, though never more than the process may use, and one in a forked process. "
        "'auto' takes one unless a step is very large, as threads are slow where other processes keep the cores busy. "
        "The process's setting is restored after.",
        use=Use.TRAINING,
    )
    module: Any = parameter(
        None,
        [callable, None],
        "callable or None",
        "A torch.nn.Module class, or a function that makes one, for networks other than the built-in one. It is called "
        "as `module(in_features, out_features)`, where in_features is the number of encoded columns, or the shape of a "
        "row if X has more than two dimensions, and gives raw outputs (rows, out_features). The parameters that "
        "describe the built-in network (layers, activation, dropout, batch norm, embeddings) are not used then.",
        use=Use.ENCODING | Use.NETWORK,
    )
