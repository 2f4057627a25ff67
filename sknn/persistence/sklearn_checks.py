"""Checks of the attributes of scikit-learn's fitted estimators, so that they predict and compiled code can't crash."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.interpolate import BSpline
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sknn.persistence.predicates import are_column_names, are_different_strings

FLOAT, BOOL, INTEGER, OBJECT, ANY = "f", "b", "iu", "O", "biufUO"  # kinds of numpy's dtypes
SELECTORS = "GenericUnivariateSelect SelectFdr SelectFpr SelectFwe SelectKBest SelectPercentile"
LINEAR_MODELS = (
    "BayesianRidge ElasticNet ElasticNetCV HuberRegressor Lasso LassoCV LinearRegression Ridge RidgeCV RidgeClassifier "
    "RidgeClassifierCV"
)
# (classes, their learned arrays, dimensions, kinds of dtype). A letter is a dimension: "f" is the number of features,
# and the same letter means the same size. "?": the array may be None. "~": the attribute may be missing. "*": further
# dimensions may come first.
LEARNED_ARRAYS = (
    ("StandardScaler", "mean_ scale_", "f?", FLOAT),
    ("RobustScaler", "center_ scale_", "f?", FLOAT),
    ("MinMaxScaler", "min_ scale_ data_min_ data_max_", "f", FLOAT),
    ("MaxAbsScaler", "scale_", "f", FLOAT),
    ("PowerTransformer", "lambdas_", "f", FLOAT),
    ("QuantileTransformer", "quantiles_", "qf", FLOAT),
    ("QuantileTransformer", "references_", "q", FLOAT),
    ("KBinsDiscretizer", "bin_edges_", "f", OBJECT),
    ("KBinsDiscretizer", "n_bins_", "f", INTEGER),
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
# (classes, further attributes that they have once they are fitted).
REQUIRED_ATTRIBUTES = (
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
# Attributes that hold an estimator, in every class that has them.
ESTIMATOR_ATTRIBUTES = (
    "estimator_",
    "final_estimator_",
    "regressor_",
    "_tfidf",
    "_encoder",
    "_scaler",
    "_label_binarizer",
    "le_",
)


def check_sklearn_estimator(est: BaseEstimator) -> None:
    """Raise an error for a fitted estimator whose attributes contradict each other.

    Raises
    ------
    ValueError
        Naming the class.
    """
    is_broken = CHECKS.get(type(est).__name__, lambda est: False)
    if _has_broken_columns(est) or _has_broken_parts(est) or _has_broken_arrays(est) or is_broken(est):
        raise ValueError(f"the attributes of a {type(est).__name__} contradict each other")


# --- Every estimator ----------------------------------------------------------------------------------------------


def _has_broken_columns(est: Any) -> bool:
    width, names = vars(est).get("n_features_in_"), vars(est).get("feature_names_in_")
    if width is not None and (type(width) is not int or width < 0):
        return True
    return names is not None and not are_column_names(names, width)


def _has_broken_parts(est: Any) -> bool:
    parts = [vars(est)[name] for name in ESTIMATOR_ATTRIBUTES if vars(est).get(name) is not None]
    return not all(isinstance(part, BaseEstimator) for part in parts)


def _has_broken_arrays(est: Any) -> bool:
    """Return whether a fitted estimator lacks an attribute, or has an array of another shape or dtype."""
    attributes, class_name = vars(est), type(est).__name__
    if not any(name.endswith("_") for name in attributes):  # not fitted
        return False
    required = [names for classes, names in REQUIRED_ATTRIBUTES if class_name in classes.split()]
    if any(name not in attributes for names in required for name in names.split()):
        return True
    sizes = {"f": attributes.get("n_features_in_")}
    return not all(
        _has_shape(attributes[name], dimensions, kinds, sizes) if name in attributes else dimensions.endswith("~")
        for classes, names, dimensions, kinds in LEARNED_ARRAYS
        if class_name in classes.split()
        for name in names.split()
    )


def _has_shape(value: Any, dimensions: str, kinds: str, sizes: dict[str, Any]) -> bool:
    """Return whether an array has these dimensions and no infinite value; adds the sizes of new letters to `sizes`."""
    if value is None:
        return dimensions.endswith("?")
    if not isinstance(value, np.ndarray) or value.dtype.kind not in kinds:
        return False
    letters = dimensions.strip("*?~")
    if value.ndim < len(letters) or (value.ndim > len(letters) and "*" not in dimensions):
        return False
    is_infinite = value.dtype.kind == "f" and bool(np.isinf(value).any())
    shape = value.shape[value.ndim - len(letters) :]
    return not is_infinite and all(sizes.setdefault(letter, n) == n for letter, n in zip(letters, shape, strict=True))


def _is_fitted(step: Any) -> bool:
    try:
        check_is_fitted(step)
    except NotFittedError:
        return False
    return True


def _is_transformer(step: Any) -> bool:
    if isinstance(step, BaseEstimator):
        return hasattr(step, "transform")
    return step is None or step in ("passthrough", "drop")


# --- Estimators of estimators -------------------------------------------------------------------------------------


def _is_broken_pipeline(pipeline: Pipeline) -> bool:
    """Return whether a step is not an estimator, or a step that is not fitted comes before a fitted one."""
    if not _are_pairs(pipeline.steps):
        return True
    steps = [step for _, step in pipeline.steps]
    if not all(map(_is_transformer, steps[:-1])):
        return True
    fitted = [_is_fitted(step) for step in steps if isinstance(step, BaseEstimator)]
    return fitted != sorted(fitted, reverse=True)


def _is_broken_union(union: Any) -> bool:
    return not _are_pairs(union.transformer_list) or not all(
        _is_transformer(step) for _, step in union.transformer_list
    )


def _are_pairs(steps: Any) -> bool:
    are_pairs = isinstance(steps, list) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in steps)
    return are_pairs and bool(steps) and are_different_strings([name for name, _ in steps])


def _is_broken_column_transformer(transformer: ColumnTransformer) -> bool:
    """Return whether a part is not a transformer, or its columns lie outside of the table."""
    if "transformers_" not in vars(transformer):
        return any(name.endswith("_") for name in vars(transformer))
    parts, indices = transformer.transformers_, vars(transformer).get("_transformer_to_input_indices")
    if not isinstance(parts, list) or not all(isinstance(part, tuple) and len(part) == 3 for part in parts):
        return True
    if not are_different_strings([name for name, *_ in parts]) or not all(
        _is_transformer(step) for _, step, _ in parts
    ):
        return True
    if not all(_is_fitted(step) for _, step, _ in parts if isinstance(step, BaseEstimator)):
        return True
    width = vars(transformer).get("n_features_in_")
    return not isinstance(indices, dict) or not all(
        _are_column_indices(indices.get(name), width) and _is_column_selection(columns) for name, _, columns in parts
    )


def _are_column_indices(indices: Any, width: Any) -> bool:
    is_list = isinstance(indices, list | np.ndarray) and type(width) is int
    return is_list and all(isinstance(index, int | np.integer) and 0 <= index < width for index in indices)


def _is_column_selection(columns: Any) -> bool:
    """Return whether a ColumnTransformer accepts a value as its columns."""
    if callable(columns) or isinstance(columns, str | int | slice):
        return True
    try:
        return all(isinstance(column, str | int | np.integer | np.bool_) for column in columns)
    except TypeError:
        return False


# --- Single classes -----------------------------------------------------------------------------------------------


def _is_broken_multilabel_binarizer(binarizer: Any) -> bool:
    """Return whether a label would get a column outside of the table."""
    classes, columns = getattr(binarizer, "classes_", ()), getattr(binarizer, "_cached_dict", None)
    if columns is None:
        columns = dict(zip(classes, range(len(classes)), strict=True))
    return sorted(columns.values()) != list(range(len(columns)))


def _is_broken_vocabulary(vectorizer: Any) -> bool:
    """Return whether a word gets a column outside of the table, or `ngram_range` is not a pair of integers."""
    vocabulary, ngram_range = getattr(vectorizer, "vocabulary_", {}), getattr(vectorizer, "ngram_range", (1, 1))
    is_pair = len(ngram_range) == 2 and all(isinstance(n, int | np.integer) for n in ngram_range)
    has_all_columns = isinstance(vocabulary, dict) and sorted(vocabulary.values()) == list(range(len(vocabulary)))
    return not (is_pair and has_all_columns)


def _is_broken_tfidf(vectorizer: Any) -> bool:
    """Return whether a word would have no weight."""
    if "vocabulary_" not in vars(vectorizer):
        return False
    weights = vars(vectorizer).get("_tfidf")
    return _is_broken_vocabulary(vectorizer) or getattr(weights, "n_features_in_", None) != len(vectorizer.vocabulary_)


def _is_broken_imputer(imputer: Any) -> bool:
    dtypes = [vars(imputer)[name] for name in ("_fit_dtype", "_fill_dtype") if name in vars(imputer)]
    return not all(isinstance(dtype, np.dtype) for dtype in dtypes)


def _is_broken_discretizer(discretizer: Any) -> bool:
    """Return whether a number would get a bin without a column."""
    if "bin_edges_" not in vars(discretizer):
        return False
    edges, encoder = discretizer.bin_edges_, vars(discretizer).get("_encoder")
    are_increasing = all(
        isinstance(column, np.ndarray) and column.ndim == 1 and column.dtype.kind == "f" and (np.diff(column) > 0).all()
        for column in edges
    )
    if not are_increasing or [len(column) - 1 for column in edges] != discretizer.n_bins_.tolist():
        return True
    if "onehot" not in discretizer.encode:
        return False
    columns = getattr(encoder, "categories_", [])
    return [column.tolist() for column in columns] != [list(range(n)) for n in discretizer.n_bins_]


def _is_broken_spline_transformer(transformer: Any) -> bool:
    """Return whether there is not a spline for each column, or their outputs are not `n_features_out_`."""
    if "bsplines_" not in vars(transformer):
        return False
    splines = transformer.bsplines_
    if not isinstance(splines, list) or not splines or not all(isinstance(spline, BSpline) for spline in splines):
        return True
    shapes = {spline.c.shape for spline in splines}
    if len(splines) != transformer.n_features_in_ or len(shapes) != 1 or splines[0].c.ndim != 2:
        return True
    n_columns = len(splines) * (splines[0].c.shape[1] - (not transformer.include_bias))
    return vars(transformer).get("n_features_out_") != n_columns


def _is_broken_one_hot(encoder: Any) -> bool:
    """Return whether a category would get a column outside of the table, or of another feature."""
    if not hasattr(encoder, "categories_"):
        return False
    if _are_broken_categories(encoder):
        return True
    n_columns, dropped = encoder._n_features_outs, encoder._drop_idx_after_grouping
    n = len(encoder.categories_)
    infrequent = encoder._infrequent_indices if encoder._infrequent_enabled else [None] * n
    if not len(n_columns) == len(infrequent) == n:
        return True
    if dropped is not None and not (isinstance(dropped, np.ndarray) and dropped.shape == (n,)):
        return True
    return any(
        _is_broken_feature(encoder, i, n_columns[i], None if dropped is None else dropped[i], infrequent[i])
        for i in range(n)
    )


def _are_broken_categories(encoder: Any) -> bool:
    """Return whether a feature lacks its array of hashable categories."""
    if "categories_" not in vars(encoder):
        return False
    arrays = encoder.categories_
    if not isinstance(arrays, list) or not all(isinstance(array, np.ndarray) and array.ndim == 1 for array in arrays):
        return True
    return len(arrays) != encoder.n_features_in_ or not all(map(_are_hashable, arrays))


def _are_hashable(array: np.ndarray) -> bool:
    return array.dtype != object or all(getattr(value, "__hash__", None) is not None for value in array.tolist())


def _is_broken_feature(encoder: Any, i: int, n_columns: int, dropped: int | None, infrequent: Any) -> bool:
    """Return whether feature i's categories contradict its columns, dropped index or infrequent indices."""
    categories = encoder.categories_[i]
    n = len(categories)
    ordered = categories[~np.isnan(categories)] if categories.dtype.kind == "f" else categories
    if categories.dtype != object and (ordered[1:] <= ordered[:-1]).any():  # scikit-learn finds them by bisection
        return True
    grouping = encoder._default_to_infrequent_mappings[i] if encoder._infrequent_enabled else None
    if grouping is not None:
        if (
            grouping.shape != (n,)
            or grouping.min() < 0
            or not _are_column_indices(infrequent, n)
            or not len(infrequent)
        ):
            return True
        n = int(grouping.max()) + 1
    if dropped is not None and not (isinstance(dropped, int | np.integer) and 0 <= dropped < n):
        return True
    return n_columns != n - (dropped is not None)


CHECKS: dict[str, Callable[[Any], bool]] = {
    "ColumnTransformer": _is_broken_column_transformer,
    "CountVectorizer": _is_broken_vocabulary,
    "DictVectorizer": _is_broken_vocabulary,
    "FeatureUnion": _is_broken_union,
    "KBinsDiscretizer": _is_broken_discretizer,
    "MultiLabelBinarizer": _is_broken_multilabel_binarizer,
    "OneHotEncoder": _is_broken_one_hot,
    "OrdinalEncoder": _are_broken_categories,
    "Pipeline": _is_broken_pipeline,
    "SimpleImputer": _is_broken_imputer,
    "SplineTransformer": _is_broken_spline_transformer,
    "TargetEncoder": _are_broken_categories,
    "TfidfVectorizer": _is_broken_tfidf,
}
