"""The closed list: the classes, types and functions that a file may name.

A name in a file is looked up here and nowhere else; nothing is imported because a file says so. Classes whose compiled
code uses learned integers as indices without checking them (trees, nearest neighbours, `OneVsRestClassifier` on several
labels) are not on the list, since a forged file could crash the interpreter with them.
"""

import functools
import importlib
from typing import Any

from sknn.persistence.container import InvalidFileError

# Modules, and the names in them. A class that is added here needs a round trip in `tests/persistence/test_classes.py`,
# and an entry in `sklearn_checks.py` if compiled code uses its attributes as indices.
CLASSES = {
    "sknn": (
        *("ClassEncoder", "ColumnScaler", "FeatureEncoder", "FrozenEnsemble", "NeuralClassifier", "NeuralRegressor"),
        "ValueEncoder",
    ),
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
# The modules of sknn's classes, whose names in a file do not depend on where they are defined.
SKNN_MODULES = {
    "sknn.ClassEncoder": "sknn.preprocessing.targets",
    "sknn.ColumnScaler": "sknn.preprocessing.scaling",
    "sknn.FeatureEncoder": "sknn.preprocessing.features",
    "sknn.FrozenEnsemble": "sknn.estimators.frozen_ensemble",
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


def _find_name(value: Any, names: dict[str, tuple[str, ...]]) -> str | None:
    """Return the listed name of exactly this class or function (not of a subclass), or None."""
    last = getattr(value, "__name__", "")
    candidates = (f"{module}.{last}" for module, listed in names.items() if last in listed)
    return next((name for name in candidates if _import(name) is value), None)


@functools.cache
def _import(name: str) -> Any:
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(SKNN_MODULES.get(name, module)), last)


def _look_up(name: Any, names: dict[str, tuple[str, ...]], kind: str) -> Any:
    """Return the class, type or function of a listed name."""
    module, _, last = name.rpartition(".") if isinstance(name, str) else ("", "", "")
    if last not in names.get(module, ()):
        raise InvalidFileError(f"names the {kind} {name!r}, which is not on the list of trusted ones")
    return _import(name)


name_of_class = functools.partial(_find_name, names=CLASSES)
name_of_type = functools.partial(_find_name, names=TYPES)
name_of_function = functools.partial(_find_name, names=FUNCTIONS)
class_by_name = functools.partial(_look_up, names=CLASSES, kind="class")
type_by_name = functools.partial(_look_up, names=TYPES, kind="type")
function_by_name = functools.partial(_look_up, names=FUNCTIONS, kind="function")
