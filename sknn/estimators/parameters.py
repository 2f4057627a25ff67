"""The constructor's parameters: each one's default, constraints, use and description.

The estimators are dataclasses with these fields, so `__init__`, scikit-learn's `_parameter_constraints` and the
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
    """What a parameter affects: the encoding of rows, further training, joint training.

    ENCODING: how the rows are encoded, so fits that differ in it can't share encoded rows.
    NETWORK: what the network is, so training it further needs the same value.
    PER_MEMBER: members of a joint training may have different values; all other parameters must be equal.
    TRAINING: none of the above.
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
    """Return scikit-learn's `_parameter_constraints`."""
    return {f.name: f.metadata["constraints"] for f in dataclasses.fields(cls) if "constraints" in f.metadata}


def names_used_for(cls: type, use: Use) -> list[str]:
    """Return the names of a class's parameters with this use."""
    return [f.name for f in dataclasses.fields(cls) if use in f.metadata.get("use", Use.TRAINING)]


def describe(cls: type) -> str:
    """Return the parameters as lines of a numpydoc section."""
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
    """The parameters of both `NeuralClassifier` and `NeuralRegressor`."""

    hidden_layer_sizes: Any = parameter(
        (128, 128),
        ["array-like", AT_LEAST_1],
        "int or array-like of int",
        "Units of each hidden layer; `()` makes a linear model. Members of two kinds with two layers of 128 are more "
        "accurate than members of one kind with two layers of 256, and cost as much.",
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
        "'adamw' is Adam with decoupled `weight_decay` (arXiv 1711.05101), with a rate for each kind of parameter and "
        "initial weights as in RealMLP (arXiv 2407.04491); 'adam' and 'sgd' work as in scikit-learn; 'lbfgs' is "
        "scipy's, uses all rows at once, and suits a few hundred rows. A class of torch is called as "
        "`solver(parameters, lr=learning_rate_init)`, once for each member.",
        use=Use.ENCODING,
    )
    alpha: float = parameter(
        0.0,
        [AT_LEAST_0],
        "float",
        "L2 penalty on the weights, divided by the batch's weight sum as in scikit-learn. 0 by default, because "
        "`weight_decay` has the same effect and disturbs Adam's steps less.",
        use=Use.PER_MEMBER,
    )
    weight_decay: float = parameter(
        0.01,
        [AT_LEAST_0],
        "float",
        "Each step multiplies the weights (not the biases) by 1 - weight_decay * learning rate. Only used when "
        "solver='adamw'.",
        use=Use.PER_MEMBER,
    )
    batch_size: Any = parameter(
        "auto",
        [StrOptions({"auto"}), AT_LEAST_1],
        "int or 'auto'",
        "Rows in a step. 'auto' depends on the number of training rows: 16 up to 256 rows, 32 up to 512, 64 up to "
        "1,024, 128 up to 8,192, 256 up to 30,000 and 512 above. So small data gives enough steps, and large data "
        "gives large products.",
        use=Use.TRAINING,
    )
    learning_rate: str = parameter(
        "cosine",
        [StrOptions(set(SCHEDULES))],
        names(SCHEDULES),
        "The schedule of the learning rate over `max_iter` epochs. 'cosine' falls to 0, which matters more than the "
        "exact initial rate; 'constant', 'invscaling' and 'adaptive' work as in scikit-learn; 'one_cycle' rises and "
        "falls; 'reduce_on_plateau' divides by 10 where 'adaptive' divides by 5. `partial_fit` has no known end, so "
        "'cosine' and 'one_cycle' are constant there. Not used by solver='lbfgs'.",
        use=Use.TRAINING,
    )
    learning_rate_init: float = parameter(
        6e-3,
        [ABOVE_0],
        "float",
        "The largest learning rate. The default suits 'adamw' with its cosine schedule; 'sgd' needs a larger rate, and "
        "a constant schedule a smaller one. Not used by solver='lbfgs'.",
        use=Use.PER_MEMBER,
    )
    max_grad_norm: Any = parameter(
        None,
        [ABOVE_0, None],
        "float or None",
        "The largest norm of a member's gradient, penalty included. A larger gradient is scaled down before the step, "
        "as by torch's `clip_grad_norm_`, for each member separately. None (the default) does not clip, since the "
        "other defaults need no clipping; 1.0 is usual if a training diverges. Not used by solver='lbfgs'.",
        use=Use.PER_MEMBER,
    )
    power_t: float = parameter(
        0.5,
        [AT_LEAST_0],
        "float",
        "Exponent of the number of rows seen. Only used when learning_rate='invscaling'.",
        use=Use.TRAINING,
    )
    max_iter: int = parameter(
        40,
        [AT_LEAST_1],
        "int",
        "The most epochs; with solver='lbfgs', the most iterations. A cosine schedule spans all of them. The default "
        "of 40 epochs with a large rate is as good as 60 with half the rate.",
        use=Use.TRAINING,
    )
    shuffle: Any = parameter(
        True,
        ["boolean"],
        "bool",
        "Whether to shuffle the rows in each epoch. Not used by solver='lbfgs'.",
        use=Use.TRAINING,
    )
    random_state: Any = parameter(
        None,
        ["random_state"],
        "int, RandomState instance or None",
        "Determines initial weights, held-out rows, row order and dropout. An int gives the same result in every call "
        "of `fit`. With an int or a RandomState, torch's and numpy's global generators are neither read nor changed; "
        "None takes a seed from numpy's generator, as everywhere in scikit-learn.",
        use=Use.PER_MEMBER,
    )
    tol: float = parameter(
        1e-4,
        [AT_LEAST_0],
        "float",
        "An epoch counts as an improvement if the watched loss or score improves by at least `tol`, in units of the "
        "scaled target.",
        use=Use.PER_MEMBER,
    )
    verbose: Any = parameter(
        False,
        ["verbose"],
        "bool or int",
        "What a fit prints: 1 shows a progress bar by tqdm, 2 prints a line for each epoch, in colours if rich is "
        "installed. Without tqdm, 1 prints lines, too. 0 (the default) prints nothing. The processes and threads of a "
        "parallel search never print.",
        use=Use.TRAINING,
    )
    warm_start: Any = parameter(
        False,
        ["boolean"],
        "bool",
        "Whether `fit` starts from the weights of the last call. The columns, classes and layers have to be the same.",
        use=Use.TRAINING,
    )
    momentum: float = parameter(
        0.9,
        [Interval(Real, 0, 1, closed="both")],
        "float",
        "The share of the last step that is added to the next. Only used when solver='sgd'.",
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
        "Whether each member holds out rows (`validation_fraction`, stratified by class), stops when their loss or "
        "score no longer improves, and keeps the weights of its best epoch. Members hold out different rows, so every "
        "row trains most members. With False, or with `X_val` in `fit`, no row is held out. Not used by "
        "solver='lbfgs'.",
        use=Use.TRAINING,
    )
    validation_fraction: float = parameter(
        0.15,
        [Interval(Real, 0, 1, closed="left")],
        "float",
        "Fraction of the rows that each member holds out. Only used when early_stopping=True. If it is less than half "
        "a row (by default, with up to three rows), none is held out, as with early_stopping=False.",
        use=Use.PER_MEMBER,
    )
    beta_1: float = parameter(
        0.9,
        [FRACTION],
        "float",
        "Decay of Adam's running mean of the gradient. Only used when solver is 'adam' or 'adamw'.",
        use=Use.TRAINING,
    )
    beta_2: float = parameter(
        0.97,
        [FRACTION],
        "float",
        "Decay of Adam's running mean of the squared gradient. The default is less than the usual 0.999, because a fit "
        "takes only a few thousand steps. Only used when solver is 'adam' or 'adamw'.",
        use=Use.TRAINING,
    )
    epsilon: float = parameter(
        1e-8,
        [ABOVE_0],
        "float",
        "Prevents a division by 0 in Adam. Only used when solver is 'adam' or 'adamw'.",
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
        "The most evaluations of the loss. Only used when solver='lbfgs'.",
        use=Use.TRAINING,
    )
    dropout: Any = parameter(
        "auto",
        [FRACTION, "array-like", StrOptions({"auto"})],
        "float, array-like of float or 'auto'",
        "Fraction of each hidden layer's units that a step drops: one for all layers, or one for each. 'auto' is 0.15, "
        "and 0 for members with batch norm, which regularises by itself and whose statistics dropout would distort "
        "(arXiv 1801.05134). Not used by solver='lbfgs'.",
        use=Use.PER_MEMBER,
    )
    batch_norm: Any = parameter(
        "auto",
        ["boolean", StrOptions({"auto"})],
        "bool or 'auto'",
        "Whether to normalise over the batch before each activation. Every row counts once there, regardless of its "
        "weight. A last batch of one row joins the batch before. 'auto' is True for half of the members; see "
        "`ensemble_size`.",
        use=Use.NETWORK,
    )
    scaling: Any = parameter(
        "auto",
        [None, StrOptions({"standard", "robust", "quantile", "auto"})],
        "{'auto', 'robust', 'standard', 'quantile'} or None",
        "How to scale numeric columns. 'robust' uses the median and the interquartile range, with a smooth clip x / "
        "sqrt(1 + (x / 3)^2); 'auto' does the same, and the network learns a factor for each input; 'standard' uses "
        "mean and standard deviation; 'quantile' maps to normal quantiles. None scales neither the columns nor a "
        "regressor's y. The columns of a sparse table are divided by their largest absolute values, and not centred.",
        use=Use.ENCODING | Use.NETWORK,
    )
    numeric_embedding: Any = parameter(
        "auto",
        [None, StrOptions({*NUMERIC_EMBEDDINGS, "auto"})],
        "{'periodic', 'piecewise_linear', 'auto'} or None",
        "Expands each number before the first layer: 'periodic' into cosines (arXiv 2407.04491), 'piecewise_linear' "
        "into its positions in bins of the column (arXiv 2203.05556). 'auto' is 'piecewise_linear' for half of the "
        "members, with up to 100 numeric columns; see `ensemble_size`.",
        use=Use.NETWORK,
    )
    target_means: Any = parameter(
        "auto",
        ["boolean", StrOptions({"auto"})],
        "bool or 'auto'",
        "Whether the network also takes the means of the target over the training rows of each level, for categories "
        "with more than 8 levels and up to 10 classes. A training row takes means over other rows only. Means are "
        "shrunk to the mean of all rows: more for levels with few rows, and more if the levels differ little. 'auto' "
        "is True for half of the members; see `ensemble_size`. `partial_fit` keeps the means of its first rows.",
        use=Use.NETWORK,
    )
    categorical_features: Any = parameter(
        "from_dtype",
        ["array-like", StrOptions({"from_dtype"}), None],
        "'from_dtype', array-like of names, indices or mask, or None",
        "Which columns are categories. 'from_dtype' selects those that hold strings or have a categorical type. A "
        "column with up to 8 levels becomes one-hot columns, and one with more levels gets an embedding. Missing and "
        "unseen levels are zeros in one-hot columns. In an embedding they have a vector of their own; to train it, "
        "each step treats a tenth of the levels as unknown. Only the 1,000 most frequent levels are kept, with a "
        "warning.",
        use=Use.ENCODING | Use.NETWORK | Use.PER_MEMBER,
    )
    ensemble_size: Any = parameter(
        "auto",
        [StrOptions({"auto"}), AT_LEAST_1],
        "int or 'auto'",
        "Number of networks whose predictions are averaged. 'auto' is 8. If there are several, they differ in what "
        "`batch_norm`, `numeric_embedding` and `target_means` leave at 'auto', because tables differ in which of these "
        "they need: half of them have batch norm and target means, and half have embedded numbers (or none of these, "
        "if no column can be embedded). The weights of the two halves in the mean are chosen on the held-out rows. "
        "`partial_fit` and solver='lbfgs' train members alike, without all three.",
        use=Use.NETWORK,
    )
    scoring: Any = parameter(
        "loss",
        [str, callable, None],
        "str, callable or None",
        "What early stopping watches: 'loss'; None for the estimator's own score (accuracy, R2, for quantiles D2), as "
        "in scikit-learn's MLP; or a scorer. The default is the loss, which is smoother than a score of few rows.",
        use=Use.TRAINING,
    )
    metrics: Any = parameter(
        None,
        ["array-like", str, None],
        "list of str, or None",
        "Metrics that are recorded in `history_` after each epoch, for training and validation rows. 'accuracy', "
        "'roc_auc', 'log_loss', 'r2' and 'rmse' are fast; any scikit-learn scorer works, too. Those of training rows "
        "are computed from the outputs of the steps, like the training loss. 'gradient_norm' records the mean norm of "
        "the gradients of an epoch's steps, penalty included. Not used by solver='lbfgs'.",
        use=Use.TRAINING,
    )
    callbacks: Any = parameter(
        None,
        ["array-like", Callback, None],
        "list of skorch callbacks, one of them, or None",
        "Callbacks of the training, which see all members as one net. The estimator uses copies of them.",
        use=Use.TRAINING,
    )
    device: str = parameter(
        "auto",
        [str],
        "{'auto', 'cpu', 'cuda', 'mps', 'xla'} or a numbered 'cuda:1'",
        "The device for training and prediction. 'auto' is a GPU if there is one.",
        use=Use.ENCODING,
    )
    precision: str = parameter(
        "auto",
        [StrOptions({"auto", "float32", "float64", "bfloat16"})],
        "{'auto', 'float32', 'float64', 'bfloat16'}",
        "The type of weights and arithmetic; 'bfloat16' applies to matrix products only. 'auto' is float32, but "
        "float64 for solver='lbfgs' and for predictions of float64 rows on a CPU.",
        use=Use.ENCODING | Use.NETWORK,
    )
    n_threads: Any = parameter(
        "auto",
        [AT_LEAST_1, StrOptions({"auto"})],
        "int or 'auto'",
        "Number of CPU threads for fit and predict; never more than the process may use, and one in a forked process. "
        "'auto' is one unless a step is very large, since threads are slow when other processes keep the cores busy. "
        "The process's setting is restored afterwards.",
        use=Use.TRAINING,
    )
    module: Any = parameter(
        None,
        [callable, None],
        "callable or None",
        "A torch.nn.Module class, or a function that returns a module, to use instead of the built-in network. It is "
        "called as `module(in_features, out_features)`, where in_features is the number of encoded columns, or the "
        "shape of a row if X has more than two dimensions. The module returns raw outputs (rows, out_features). Then "
        "the parameters of the built-in network (layers, activation, dropout, batch norm, embeddings) are not used.",
        use=Use.ENCODING | Use.NETWORK,
    )
