"""The closed list: the classes, types and functions a file may name, and how an object of each is taken apart and made.

A name in a file is looked up here and nowhere else; nothing is ever imported because a file says so.  Left out on
purpose is whatever follows learned integers into memory unchecked (trees, nearest neighbours, `OneVsRestClassifier`
on several labels), where a forged file could crash the interpreter.
"""

import functools
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import make_constraint

from sknn.persistence.container import InvalidFileError
from sknn.persistence.fitted import check_fitted
from sknn.persistence.steps import check_step

# Modules, and the names in them.  A class that is added here needs a round trip in `tests/persistence/test_classes.py`,
# and an entry in `steps.py` if its attributes become indices of compiled code.
CLASSES = {
    "sknn": ("ClassEncoder", "ColumnScaler", "FeatureEncoder", "NeuralClassifier", "NeuralRegressor", "ValueEncoder"),
    "builtins": ("frozenset", "set", "slice"),
    "numpy.random": ("RandomState",),
    "pandas": ("Index", "RangeIndex"),
    "scipy.interpolate": ("BSpline",),
    "scipy.sparse": ("csc_array", "csc_matrix", "csr_array", "csr_matrix"),
    "sklearn.calibration": ("CalibratedClassifierCV", "_CalibratedClassifier", "_SigmoidCalibration"),
    "sklearn.compose": ("ColumnTransformer", "TransformedTargetRegressor", "make_column_selector"),
    "sklearn.decomposition": ("FastICA", "IncrementalPCA", "PCA", "TruncatedSVD"),
    "sklearn.dummy": ("DummyClassifier", "DummyRegressor"),
    "sklearn.ensemble": (
        *("BaggingClassifier", "BaggingRegressor", "StackingClassifier", "StackingRegressor"),
        *("VotingClassifier", "VotingRegressor"),
    ),
    "sklearn.feature_extraction": ("DictVectorizer", "FeatureHasher"),
    "sklearn.feature_extraction.text": (
        *("CountVectorizer", "HashingVectorizer", "TfidfTransformer", "TfidfVectorizer"),
    ),
    "sklearn.feature_selection": (
        *("GenericUnivariateSelect", "RFE", "RFECV", "SelectFdr", "SelectFpr", "SelectFromModel", "SelectFwe"),
        *("SelectKBest", "SelectPercentile", "SequentialFeatureSelector", "VarianceThreshold"),
    ),
    "sklearn.frozen": ("FrozenEstimator",),
    "sklearn.impute": ("MissingIndicator", "SimpleImputer"),
    "sklearn.isotonic": ("IsotonicRegression",),
    "sklearn.kernel_approximation": ("RBFSampler",),
    "sklearn.linear_model": (
        *("BayesianRidge", "ElasticNet", "ElasticNetCV", "HuberRegressor", "Lasso", "LassoCV", "LinearRegression"),
        *("LogisticRegression", "Ridge", "RidgeCV", "RidgeClassifier", "RidgeClassifierCV"),
    ),
    "sklearn.model_selection": ("FixedThresholdClassifier",),
    "sklearn.multiclass": ("OneVsOneClassifier",),
    "sklearn.multioutput": ("ClassifierChain", "MultiOutputClassifier", "MultiOutputRegressor", "RegressorChain"),
    "sklearn.pipeline": ("FeatureUnion", "Pipeline"),
    "sklearn.preprocessing": (
        *("Binarizer", "FunctionTransformer", "KBinsDiscretizer", "LabelBinarizer", "LabelEncoder", "MaxAbsScaler"),
        *("MinMaxScaler", "MultiLabelBinarizer", "Normalizer", "OneHotEncoder", "OrdinalEncoder"),
        *("PolynomialFeatures", "PowerTransformer", "QuantileTransformer", "RobustScaler", "SplineTransformer"),
        *("StandardScaler", "TargetEncoder"),
    ),
    "sklearn.random_projection": ("GaussianRandomProjection", "SparseRandomProjection"),
    "sklearn.utils": ("Bunch",),
}
# Our own classes keep their names in a file, in whichever module they are.
OWN_MODULES = {
    "sknn.ClassEncoder": "sknn.preprocessing.targets",
    "sknn.ColumnScaler": "sknn.preprocessing.scaling",
    "sknn.FeatureEncoder": "sknn.preprocessing.features",
    "sknn.ValueEncoder": "sknn.preprocessing.targets",
}
TYPES = {
    "builtins": ("bool", "float", "int", "object", "str"),
    "numpy": (
        *("bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64"),
        *("uint8", "uint16", "uint32", "uint64", "object_", "str_"),
    ),
    "torch.optim": (
        *("Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "ASGD", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD"),
    ),
}
FUNCTIONS = {
    "numpy": (
        *("abs", "arcsinh", "arctan", "cbrt", "ceil", "cos", "exp", "exp2", "expm1", "floor", "log", "log10", "log1p"),
        *("log2", "negative", "nan_to_num", "reciprocal", "rint", "sign", "sin", "sinh", "sqrt", "square", "tan"),
        *("tanh", "trunc"),
    ),
    "scipy.special": ("expit", "inv_boxcox", "logit"),
    "sklearn.feature_selection": (
        *("chi2", "f_classif", "f_regression", "mutual_info_classif", "mutual_info_regression", "r_regression"),
    ),
}


def _name(thing: Any, table: dict[str, tuple[str, ...]]) -> str | None:
    """The name by which a table has just this class or function; a subclass is another."""
    last = getattr(thing, "__name__", "")
    names = (f"{module}.{last}" for module, listed in table.items() if last in listed)
    return next((name for name in names if _resolve(name) is thing), None)


@functools.cache
def _resolve(name: str) -> Any:
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(OWN_MODULES.get(name, module)), last)


def _lookup(name: Any, table: dict[str, tuple[str, ...]], kind: str) -> Any:
    module, _, last = name.rpartition(".") if isinstance(name, str) else ("", "", "")
    if last not in table.get(module, ()):
        raise InvalidFileError(f"names the {kind} {name!r}, which is not on the list of those that are trusted")
    return _resolve(name)


name_of_class = functools.partial(_name, table=CLASSES)
name_of_type = functools.partial(_name, table=TYPES)
name_of_function = functools.partial(_name, table=FUNCTIONS)
class_named = functools.partial(_lookup, table=CLASSES, kind="class")
type_named = functools.partial(_lookup, table=TYPES, kind="type")
function_named = functools.partial(_lookup, table=FUNCTIONS, kind="function")


# --- Taking apart, and making -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Serializer:
    """An object's state, and the object (of that class) of a state."""

    state_of: Callable[[Any], Any]
    from_state: Callable[[Any, Any], Any]


def serializer_of(cls: type) -> Serializer:
    """How objects of a class on the list are taken apart and made."""
    return SERIALIZERS.get(f"{cls.__module__.partition('.')[0]}.{cls.__name__}", BY_ATTRIBUTES)


def _attributes(made: Any) -> dict[str, Any]:
    state = dict(made.__getstate__() or {})
    if "_metadata_request" in state:  # which refers back to the estimator
        requests = state["_metadata_request"]
        state["_metadata_request"] = {m: dict(getattr(requests, m).requests) for m in _methods_of(requests)}
    check(made)
    return state


def _from_attributes(cls: Any, state: dict[str, Any]) -> Any:
    defaults = _defaults(cls) if issubclass(cls, BaseEstimator) else {}
    settable = {*defaults, *getattr(cls, "__dataclass_fields__", ()), "_metadata_request"}
    for name in state:
        is_of_the_class = any(name in vars(base) for base in cls.__mro__)
        if name.startswith("__") or (is_of_the_class and name not in settable):
            raise InvalidFileError(f"sets {name!r} of a {cls.__name__}, which is no attribute to set")
    requests = state.pop("_metadata_request", {})
    state = defaults | state  # whose version had fewer parameters
    if "n_jobs" in defaults:
        state["n_jobs"] = None  # a file starts no processes
    made = cls.__new__(cls)
    if hasattr(made, "__setstate__"):
        made.__setstate__(state)
    else:
        made.__dict__.update(state)
    if requests:
        made._metadata_request = made._get_metadata_request()  # of its own, without those of the estimators in it
        for method in _methods_of(made._metadata_request):
            for name, alias in requests.get(method, {}).items():
                getattr(made._metadata_request, method).add_request(param=name, alias=alias)
    check(made)
    return made


def _defaults(cls: type[BaseEstimator]) -> dict[str, Any]:
    parameters = inspect.signature(cls).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _methods_of(requests: Any) -> list[str]:
    return [name for name, value in vars(requests).items() if hasattr(value, "requests")]


def _state_of_random(random: np.random.RandomState) -> dict[str, Any]:
    return random.get_state(legacy=False)  # type: ignore[return-value]


def _random_from_state(cls: type, state: dict[str, Any]) -> np.random.RandomState:
    inner = state["state"]
    if state["bit_generator"] != "MT19937" or inner["key"].shape != (624,) or not 0 <= inner["pos"] <= 624:
        raise InvalidFileError("holds a random state that is none")  # numpy would read where `pos` says
    random = np.random.RandomState(0)
    random.set_state(state)
    return random


def _sparse_from_state(cls: Any, state: dict[str, Any]) -> Any:
    matrix = cls((state["data"], state["indices"], state["indptr"]), shape=state["shape"])
    matrix.check_format(full_check=True)
    return matrix


def _state_of_index(index: Any) -> dict[str, Any]:
    return {"values": index.to_numpy(), "name": index.name}


BY_ATTRIBUTES = Serializer(_attributes, _from_attributes)
SPARSE = Serializer(
    lambda m: {"data": m.data, "indices": m.indices, "indptr": m.indptr, "shape": m.shape}, _sparse_from_state
)
ITEMS = Serializer(list, lambda cls, items: cls(items))
INDEX = Serializer(_state_of_index, lambda cls, state: _resolve("pandas.Index")(state["values"], name=state["name"]))
SERIALIZERS = {
    "builtins.set": ITEMS,
    "builtins.frozenset": ITEMS,
    "builtins.slice": Serializer(lambda s: [s.start, s.stop, s.step], lambda cls, ends: slice(*ends)),
    "numpy.RandomState": Serializer(_state_of_random, _random_from_state),
    "pandas.Index": INDEX,
    "pandas.RangeIndex": INDEX,
    "scipy.BSpline": Serializer(
        lambda s: {"t": s.t, "c": s.c, "k": s.k, "extrapolate": s.extrapolate, "axis": s.axis},
        lambda cls, state: cls(**state),  # its constructor checks what its compiled code takes for granted
    ),
    **{f"scipy.{name}": SPARSE for name in CLASSES["scipy.sparse"]},
    "sklearn.Bunch": Serializer(dict, lambda cls, state: cls(**state)),
}


# --- What compiled code takes for granted -----------------------------------------------------------------------------


def check(made: Any) -> None:
    """Refuse an object whose parameters are not valid, or whose attributes would lead compiled code astray.

    Raises
    ------
    ValueError
        Naming the class.
    """
    if isinstance(made, BaseEstimator):
        missing = [name for name in made._get_param_names() if not hasattr(made, name)]
        if missing:
            raise ValueError(f"a {type(made).__name__} lacks the parameters {missing}")
        _check_parameters(made)
    check_fitted(made)
    if isinstance(made, BaseEstimator):
        _check_dtype(made)
        check_step(made)


def _check_dtype(made: BaseEstimator) -> None:
    """Refuse a parameter that asks for arrays of long strings, a million bytes each."""
    dtype = getattr(made, "dtype", None)
    if dtype is not None and np.dtype(dtype).kind not in "biufO":
        raise ValueError(f"the dtype of a {type(made).__name__} has to be one of numbers; got {np.dtype(dtype)}")


def _check_parameters(made: BaseEstimator) -> None:
    """scikit-learn's own validation, whose message would take forever for the text of estimators in estimators."""
    for name, constraints in getattr(made, "_parameter_constraints", {}).items():
        value = getattr(made, name, None)
        if constraints == "no_validation" or name not in made._get_param_names():
            continue
        allowed = [make_constraint(constraint) for constraint in constraints]
        if not any(constraint.is_satisfied_by(value) for constraint in allowed):
            wanted = " or ".join(str(constraint) for constraint in allowed if not constraint.hidden)
            is_plain = isinstance(value, NoneType | str | int | float)
            got = repr(value)[:100] if is_plain else f"a {type(value).__name__}"
            raise ValueError(f"The {name!r} parameter of {type(made).__name__} must be {wanted}; got {got}")
