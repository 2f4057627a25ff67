"""What the attributes of scikit-learn's fitted steps have to be: for compiled code not to go astray, and to predict."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.interpolate import BSpline
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sknn.persistence.fitted import are_different_strings, are_names

FLOAT, BOOL, WHOLE, OBJECT, ANY = "f", "b", "iu", "O", "biufUO"  # kinds of numpy's dtypes
SELECTORS = "GenericUnivariateSelect SelectFdr SelectFpr SelectFwe SelectKBest SelectPercentile"
LINEAR_MODELS = (
    "BayesianRidge ElasticNet ElasticNetCV HuberRegressor Lasso LassoCV LinearRegression Ridge RidgeCV RidgeClassifier "
    "RidgeClassifierCV"
)
# Classes, and the arrays that they learn: a letter for each dimension, f for the features and others for sizes that
# have to be equal; "?" if it may be None, "~" if it may be missing, "*" for further dimensions in front.
LEARNED = (
    ("StandardScaler", "mean_ scale_", "f?", FLOAT),
    ("RobustScaler", "center_ scale_", "f?", FLOAT),
    ("MinMaxScaler", "min_ scale_ data_min_ data_max_", "f", FLOAT),
    ("MaxAbsScaler", "scale_", "f", FLOAT),
    ("PowerTransformer", "lambdas_", "f", FLOAT),
    ("QuantileTransformer", "quantiles_", "qf", FLOAT),
    ("QuantileTransformer", "references_", "q", FLOAT),
    ("KBinsDiscretizer", "bin_edges_", "f", OBJECT),
    ("KBinsDiscretizer", "n_bins_", "f", WHOLE),
    ("SimpleImputer", "statistics_", "f", ANY),
    ("TfidfTransformer", "idf_", "f~", FLOAT),
    ("VarianceThreshold", "variances_", "f", FLOAT),
    ("RFE RFECV SequentialFeatureSelector", "support_", "f", BOOL),
    (SELECTORS, "scores_", "f", FLOAT),
    (SELECTORS, "pvalues_", "f?", FLOAT),
    ("PCA IncrementalPCA TruncatedSVD FastICA GaussianRandomProjection", "components_", "kf", FLOAT),
    ("PCA IncrementalPCA", "mean_", "f", FLOAT),
    ("FastICA", "mean_", "f~", FLOAT),
    ("RBFSampler", "random_weights_", "fk", FLOAT),
    ("RBFSampler", "random_offset_", "k", FLOAT),
    ("LogisticRegression", "coef_", "kf", FLOAT),
    ("LogisticRegression", "intercept_", "k", FLOAT),
    ("LogisticRegression", "classes_", "c", ANY),
    (LINEAR_MODELS, "coef_", "*f", FLOAT),
)
# Classes, and further attributes that they have once they are fitted.
NEEDED = (
    ("BaggingClassifier BaggingRegressor", "estimators_ estimators_features_"),
    ("CalibratedClassifierCV", "calibrated_classifiers_ classes_"),
    ("ClassifierChain RegressorChain", "estimators_ order_"),
    ("ColumnTransformer", "sparse_output_ output_indices_"),
    ("CountVectorizer TfidfVectorizer", "vocabulary_"),
    ("DictVectorizer", "feature_names_ vocabulary_"),
    ("DummyClassifier", "classes_ class_prior_ n_classes_ n_outputs_ sparse_output_"),
    ("DummyRegressor", "constant_ n_outputs_"),
    ("IsotonicRegression", "X_min_ X_max_ X_thresholds_ y_thresholds_"),
    ("LabelBinarizer LabelEncoder MultiLabelBinarizer", "classes_"),
    ("MultiOutputClassifier MultiOutputRegressor VotingClassifier VotingRegressor", "estimators_"),
    ("OneHotEncoder OrdinalEncoder", "categories_"),
    ("OneVsOneClassifier", "classes_ estimators_"),
    ("SimpleImputer", "_fit_dtype"),
    ("SparseRandomProjection", "components_"),
    ("SplineTransformer", "bsplines_ n_features_out_"),
    ("StackingClassifier StackingRegressor", "estimators_ final_estimator_ stack_method_"),
    ("TargetEncoder", "categories_ encodings_ target_mean_ target_type_"),
    ("TransformedTargetRegressor", "regressor_"),
    ("_SigmoidCalibration", "a_ b_"),
)
# Attributes that are estimators, of whichever class has them.
PARTS = ("estimator_", "final_estimator_", "regressor_", "_tfidf", "_encoder", "_scaler", "_label_binarizer", "le_")


def check_step(made: BaseEstimator) -> None:
    """Refuse a fitted step whose attributes contradict each other.

    Raises
    ------
    ValueError
        Naming the class.
    """
    is_broken = CHECKS.get(type(made).__name__, lambda made: False)
    if _has_broken_columns(made) or _has_broken_parts(made) or _has_broken_arrays(made) or is_broken(made):
        raise ValueError(f"the attributes of a {type(made).__name__} contradict each other")


# --- What every step has ------------------------------------------------------------------------------------------


def _has_broken_columns(made: Any) -> bool:
    width, names = vars(made).get("n_features_in_"), vars(made).get("feature_names_in_")
    if width is not None and (type(width) is not int or width < 0):
        return True
    return names is not None and not are_names(names, width)


def _has_broken_parts(made: Any) -> bool:
    parts = [vars(made)[name] for name in PARTS if vars(made).get(name) is not None]
    return not all(isinstance(part, BaseEstimator) for part in parts)


def _has_broken_arrays(made: Any) -> bool:
    if not any(name.endswith("_") for name in vars(made)):  # not fitted
        return False
    sizes = {"f": vars(made).get("n_features_in_")}
    own = type(made).__name__
    needed = [name for classes, names in NEEDED if own in classes.split() for name in names.split()]
    return any(name not in vars(made) for name in needed) or not all(
        _fits(vars(made)[name], letters, kinds, sizes) if name in vars(made) else letters.endswith("~")
        for classes, names, letters, kinds in LEARNED
        if own in classes.split()
        for name in names.split()
    )


def _fits(value: Any, letters: str, kinds: str, sizes: dict[str, Any]) -> bool:
    """Whether an array has these dimensions, whose sizes are noted; infinite is none."""
    if value is None:
        return letters.endswith("?")
    if not isinstance(value, np.ndarray) or value.dtype.kind not in kinds:
        return False
    names = letters.strip("*?~")
    if value.ndim < len(names) or (value.ndim > len(names) and "*" not in letters):
        return False
    is_infinite = value.dtype.kind == "f" and bool(np.isinf(value).any())
    shape = value.shape[value.ndim - len(names) :]
    return not is_infinite and all(sizes.setdefault(name, n) == n for name, n in zip(names, shape, strict=True))


def _is_fitted(step: Any) -> bool:
    try:
        check_is_fitted(step)
    except NotFittedError:
        return False
    return True


def _transforms(step: Any) -> bool:
    if isinstance(step, BaseEstimator):
        return hasattr(step, "transform")
    return step is None or step in ("passthrough", "drop")


# --- Steps of steps -----------------------------------------------------------------------------------------------


def _is_broken_pipeline(pipeline: Pipeline) -> bool:
    """Whether some are no steps, or one is not fitted and a later one is."""
    if not _are_pairs(pipeline.steps):
        return True
    steps = [step for _, step in pipeline.steps]
    if not all(map(_transforms, steps[:-1])):
        return True
    fitted = [_is_fitted(step) for step in steps if isinstance(step, BaseEstimator)]
    return fitted != sorted(fitted, reverse=True)


def _is_broken_union(union: Any) -> bool:
    return not _are_pairs(union.transformer_list) or not all(_transforms(step) for _, step in union.transformer_list)


def _are_pairs(steps: Any) -> bool:
    are_pairs = isinstance(steps, list) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in steps)
    return are_pairs and bool(steps) and are_different_strings([name for name, _ in steps])


def _is_broken_column_transformer(transformer: ColumnTransformer) -> bool:
    """Whether a part is no step, or its columns lie outside of the table."""
    if "transformers_" not in vars(transformer):
        return any(name.endswith("_") for name in vars(transformer))
    parts, places = transformer.transformers_, vars(transformer).get("_transformer_to_input_indices")
    if not isinstance(parts, list) or not all(isinstance(part, tuple) and len(part) == 3 for part in parts):
        return True
    if not are_different_strings([name for name, *_ in parts]) or not all(_transforms(step) for _, step, _ in parts):
        return True
    if not all(_is_fitted(step) for _, step, _ in parts if isinstance(step, BaseEstimator)):
        return True
    width = vars(transformer).get("n_features_in_")
    return not isinstance(places, dict) or not all(
        _are_columns(places.get(name), width) and _are_columns_of_user(columns) for name, _, columns in parts
    )


def _are_columns(places: Any, width: Any) -> bool:
    is_list = isinstance(places, list | np.ndarray) and type(width) is int
    return is_list and all(isinstance(place, int | np.integer) and 0 <= place < width for place in places)


def _are_columns_of_user(columns: Any) -> bool:
    """Whether columns are named as a ColumnTransformer takes them."""
    if callable(columns) or isinstance(columns, str | int | slice):
        return True
    try:
        return all(isinstance(column, str | int | np.integer | np.bool_) for column in columns)
    except TypeError:
        return False


# --- Steps with more than arrays ----------------------------------------------------------------------------------


def _is_broken_label_set(binarizer: Any) -> bool:
    """Whether a label would get a column outside of the table."""
    classes, places = getattr(binarizer, "classes_", ()), getattr(binarizer, "_cached_dict", None)
    if places is None:
        places = dict(zip(classes, range(len(classes)), strict=True))
    return sorted(places.values()) != list(range(len(places)))


def _is_broken_vocabulary(made: Any) -> bool:
    """Whether columns of the sparse table would lie outside of it, or words would not be counted."""
    vocabulary, ends = getattr(made, "vocabulary_", {}), getattr(made, "ngram_range", (1, 1))
    are_whole = len(ends) == 2 and all(isinstance(n, int | np.integer) for n in ends)
    in_order = isinstance(vocabulary, dict) and sorted(vocabulary.values()) == list(range(len(vocabulary)))
    return not (are_whole and in_order)


def _is_broken_tfidf(made: Any) -> bool:
    """Whether a word would have no weight."""
    if "vocabulary_" not in vars(made):
        return False
    weighting = vars(made).get("_tfidf")
    return _is_broken_vocabulary(made) or getattr(weighting, "n_features_in_", None) != len(made.vocabulary_)


def _is_broken_imputer(imputer: Any) -> bool:
    dtypes = [vars(imputer)[name] for name in ("_fit_dtype", "_fill_dtype") if name in vars(imputer)]
    return not all(isinstance(dtype, np.dtype) for dtype in dtypes)


def _is_broken_bins(binned: Any) -> bool:
    """Whether a number would get a bin for which there is no column."""
    if "bin_edges_" not in vars(binned):
        return False
    edges, encoder = binned.bin_edges_, vars(binned).get("_encoder")
    are_increasing = all(
        isinstance(column, np.ndarray) and column.ndim == 1 and column.dtype.kind == "f" and (np.diff(column) > 0).all()
        for column in edges
    )
    if not are_increasing or [len(column) - 1 for column in edges] != binned.n_bins_.tolist():
        return True
    if "onehot" not in binned.encode:
        return False
    columns = getattr(encoder, "categories_", [])
    return [column.tolist() for column in columns] != [list(range(n)) for n in binned.n_bins_]


def _is_broken_splines(made: Any) -> bool:
    """Whether the splines are not those of the table's columns."""
    if "bsplines_" not in vars(made):
        return False
    splines = made.bsplines_
    if not isinstance(splines, list) or not splines or not all(isinstance(spline, BSpline) for spline in splines):
        return True
    shapes = {spline.c.shape for spline in splines}
    if len(splines) != made.n_features_in_ or len(shapes) != 1 or splines[0].c.ndim != 2:
        return True
    n_columns = len(splines) * (splines[0].c.shape[1] - (not made.include_bias))
    return vars(made).get("n_features_out_") != n_columns


def _is_broken_one_hot(encoder: Any) -> bool:
    """Whether a category would get a column outside of the table, or of another feature."""
    if not hasattr(encoder, "categories_"):
        return False
    if _are_broken_categories(encoder):
        return True
    outs, drops = encoder._n_features_outs, encoder._drop_idx_after_grouping
    infrequent = encoder._infrequent_indices if encoder._infrequent_enabled else [None] * len(outs)
    if not len(outs) == len(infrequent) == len(encoder.categories_):
        return True
    if drops is not None and not (isinstance(drops, np.ndarray) and drops.shape == (len(outs),)):
        return True
    return any(
        _is_broken_feature(encoder, i, outs[i], None if drops is None else drops[i], infrequent[i])
        for i in range(len(outs))
    )


def _are_broken_categories(encoder: Any) -> bool:
    """Whether there is not an array of categories, which can be looked up, for each feature."""
    if "categories_" not in vars(encoder):
        return False
    found = encoder.categories_
    if not isinstance(found, list) or not all(isinstance(array, np.ndarray) and array.ndim == 1 for array in found):
        return True
    return len(found) != encoder.n_features_in_ or not all(map(_are_hashable, found))


def _are_hashable(array: np.ndarray) -> bool:
    return array.dtype != object or all(getattr(value, "__hash__", None) is not None for value in array.tolist())


def _is_broken_feature(encoder: Any, i: int, n_columns: int, drop: int | None, infrequent: Any) -> bool:
    categories = encoder.categories_[i]
    n = len(categories)
    numbers = categories[~np.isnan(categories)] if categories.dtype.kind == "f" else categories
    if categories.dtype != object and (numbers[1:] <= numbers[:-1]).any():  # they are found by bisection
        return True
    grouping = encoder._default_to_infrequent_mappings[i] if encoder._infrequent_enabled else None
    if grouping is not None:
        if grouping.shape != (n,) or grouping.min() < 0 or not _are_columns(infrequent, n) or not len(infrequent):
            return True
        n = int(grouping.max()) + 1
    if drop is not None and not (isinstance(drop, int | np.integer) and 0 <= drop < n):
        return True
    return n_columns != n - (drop is not None)


CHECKS: dict[str, Callable[[Any], bool]] = {
    "ColumnTransformer": _is_broken_column_transformer,
    "CountVectorizer": _is_broken_vocabulary,
    "DictVectorizer": _is_broken_vocabulary,
    "FeatureUnion": _is_broken_union,
    "KBinsDiscretizer": _is_broken_bins,
    "MultiLabelBinarizer": _is_broken_label_set,
    "OneHotEncoder": _is_broken_one_hot,
    "OrdinalEncoder": _are_broken_categories,
    "Pipeline": _is_broken_pipeline,
    "SimpleImputer": _is_broken_imputer,
    "SplineTransformer": _is_broken_splines,
    "TargetEncoder": _are_broken_categories,
    "TfidfVectorizer": _is_broken_tfidf,
}
