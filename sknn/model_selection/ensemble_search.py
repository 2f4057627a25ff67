"""`EnsembleSearchCV`: a random search whose result is the ensemble of its models."""

import time
import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from sklearn import model_selection
from sklearn.base import is_classifier
from sklearn.model_selection import ParameterSampler, check_cv
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _num_samples

from sknn.estimators.base import BaseNeural
from sknn.estimators.frozen_ensemble import FrozenEnsemble
from sknn.estimators.pipelines import final_estimator, final_step
from sknn.model_selection.batched_search import BatchedSearch
from sknn.model_selection.ensemble_weights import Target, out_of_fold, weigh
from sknn.model_selection.fold_models import FoldModel, row_weights
from sknn.model_selection.joblib_backend import joint_training
from sknn.model_selection.spaces import search_space
from sknn.model_selection.tasks import UNFINISHED
from sknn.model_selection.time_limit import TimeLimit
from sknn.training.kinds import EMBEDDED_COLUMNS
from sknn.utils.warnings import warn

NOT_TRAINED = {"test_scores": np.nan, "fit_time": np.nan, "score_time": np.nan, "group": UNFINISHED}


class EnsembleSearchCV(BatchedSearch, model_selection.RandomizedSearchCV):
    """Random search whose result is the ensemble of all its models, not the best candidate alone.

    The first candidate is the estimator with its own settings, and the others are drawn at random. All are trained
    jointly on the folds of a cross-validation. Every row is predicted by the models that have not trained on it, and
    greedy selection with replacement on these predictions weighs the candidates. The weighted mean of the models is the
    result, so nothing is fitted again.

    Parameters
    ----------
    estimator : NeuralClassifier, NeuralRegressor, or a Pipeline that ends in one
        If its `ensemble_size` is 'auto', a model has one member, since the models are the ensemble. Those of the first
        candidate have two: one of each kind, if the estimator's members differ in kind.
    param_distributions : dict, list of dict or None, default=None
        As in `RandomizedSearchCV`. None is `search_space(estimator, n_samples, architecture=True)`, without embeddings
        of numbers for a pipeline, a sparse table, or more than 100 columns.
    n_iter : int, default=10
        Number of candidates, including the estimator's own settings. Ten cost about as much CPU as ten default fits.
    scoring : str, callable or None, default=None
        The score in `cv_results_`, and of `score`; None is the estimator's own. The weights depend on the estimator's
        loss alone.
    n_jobs : int or None, default=None
        Number of processes that share the fits.
    cv : int, splitter, iterable or None, default=None
        The number of folds, 5 if None. Their rows are shuffled, and stratified for a classifier. A splitter or an
        iterable of splits is used as it is.
    time_limit : float or None, default=None
        Seconds. The candidates are trained in rounds, and no round begins that is not expected to end in time; the
        first candidate is always trained.
    random_state : int, RandomState instance or None, default=None
        Determines the candidates and the folds; `random_state` of the estimator determines the trainings.
    verbose : int, default=0
        Shows a progress bar of the fits, if tqdm is installed.
    error_score : 'raise' or float, default=np.nan
        The score of a fit that fails. Its candidate gets the weight 0.

    Attributes
    ----------
    best_estimator_ : FrozenEnsemble
        The ensemble: the weighted mean of `estimators_`.
    weights_ : ndarray of shape (n_candidates,)
        The share of each candidate in the ensemble; they add up to 1. Many are 0.
    estimators_ : list of estimators
        The models of the candidates with a weight, one for each fold.
    leaderboard_ : DataFrame
        The candidates, best first: score, loss and weight, seconds of its fits, parameters. Needs pandas.
    oof_predictions_ : ndarray of shape (n_samples, ...)
        The ensemble's prediction of each row (probabilities or values), by the models that have not trained on it; NaN
        for rows that no fold tests.
    losses_ : ndarray of shape (n_candidates,)
        The loss of each candidate's predictions of such rows. NaN if the candidate was not trained or failed.
    cv_results_ : dict of ndarrays
        As in scikit-learn's searches, with `group`. Candidates without time have NaN scores, and the group -1.
    best_index_, best_params_, best_score_ : int, dict, float
        Those of the candidate with the best mean score over folds.
    classes_, n_features_in_, feature_names_in_ : ndarray, int, ndarray
        As in the estimator.
    n_splits_, scorer_, multimetric_ : int, callable, bool
        As in scikit-learn's searches.

    See Also
    --------
    RandomizedSearchCV : Chooses one candidate and fits it to all rows.
    search_space : The ranges that are searched by default.

    Notes
    -----
    The rows that a fold tests also stop its trainings early, so that no further rows have to be held out. This makes
    scores, losses and `oof_predictions_` slightly optimistic. Networks that can't be trained jointly hold out rows of
    their own: custom modules, and estimators with callbacks or `warm_start`.

    Caruana, Niculescu-Mizil, Crew and Ksikes (2004), "Ensemble selection from libraries of models", ICML.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknn import NeuralClassifier
    >>> from sknn.model_selection import EnsembleSearchCV
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = NeuralClassifier(hidden_layer_sizes=16, max_iter=10, random_state=0)
    >>> search = EnsembleSearchCV(clf, {"dropout": [0.1, 0.2], "batch_norm": [True, False]}, n_iter=3, random_state=0)
    >>> search.fit(X, y).weights_.shape, len(search.estimators_) % 5
    ((3,), 0)
    """

    _parameter_constraints = model_selection.RandomizedSearchCV._parameter_constraints | {
        "param_distributions": [dict, list, None],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
    }

    def __init__(
        self,
        estimator: Any,
        param_distributions: Any = None,
        *,
        n_iter: int = 10,
        scoring: Any = None,
        n_jobs: int | None = None,
        cv: Any = None,
        time_limit: float | None = None,
        random_state: Any = None,
        verbose: int = 0,
        error_score: Any = np.nan,
    ) -> None:
        super().__init__(
            estimator,
            param_distributions,
            n_iter=n_iter,
            scoring=scoring,
            n_jobs=n_jobs,
            cv=cv,
            random_state=random_state,
            verbose=verbose,
            error_score=error_score,
        )
        self.time_limit = time_limit

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Train all candidates on all folds, and weigh them.

        Parameters
        ----------
        X, y
            As in the estimator's `fit`.
        **params
            Passed on to `fit` of the estimator, to the splitter and to the scorer, as by `RandomizedSearchCV`:
            `sample_weight`, `groups`, `step__sample_weight` for a pipeline.

        Returns
        -------
        self
        """
        self._validate_params()
        self._candidates = self._draw_candidates(X)
        self.refit = False  # the ensemble takes its place
        try:
            with joint_training(keeps_finished=True, keeps_models=True) as backend:
                super(BatchedSearch, self).fit(X, y, **params)
        finally:
            self.refit = True
            del self._candidates
        target = Target(final_estimator(self.estimator), y, row_weights(params, self.estimator))
        self._weigh(backend.fold_models, X, target)
        return self

    def _draw_candidates(self, X: Any) -> list[dict[str, Any]]:
        """Return the parameters of the candidates: none for the first, which has the estimator's own."""
        prefix, network = final_step(self.estimator)
        if not isinstance(network, BaseNeural):
            raise TypeError(
                f"estimator={self.estimator!r} must be a NeuralClassifier, a NeuralRegressor, or a Pipeline that ends "
                "in one."
            )
        space = self.param_distributions
        if space is None:
            space = search_space(self.estimator, _num_samples(X), architecture=True)
            if network is not self.estimator or not can_embed(X):  # the columns after other steps are not known
                del space[f"{prefix}numeric_embedding"]
        drawn = ParameterSampler(space, self.n_iter - 1, random_state=self.random_state) if self.n_iter > 1 else []
        if network.ensemble_size != "auto":
            return [{}, *drawn]
        size = f"{prefix}ensemble_size"
        return [{size: 2}, *({size: 1} | candidate for candidate in drawn)]

    def _run_search(self, evaluate_candidates: Any) -> None:
        """Train the candidates in rounds: all at once without a time limit."""
        limit, folds, n_trained = TimeLimit(self.time_limit), self._folds(), 0
        while n := limit.n_candidates(len(self._candidates) - n_trained):
            start = time.perf_counter()
            try:
                results = evaluate_candidates(self._candidates[n_trained : n_trained + n], cv=folds)
            except KeyboardInterrupt:
                if not n_trained:
                    raise
                warn(f"Search interrupted by user: the ensemble is that of the first {n_trained} candidates.")
                break
            rows = slice(n_trained, n_trained + n)
            n_trained += n
            if (results["group"][rows] == -1).any():  # interrupted
                break
            limit.add_round(time.perf_counter() - start, results["mean_fit_time"][rows])

    def _folds(self) -> Any:
        """Return the splitter, or None for the one that scikit-learn makes of `cv`."""
        if self.cv is not None and not isinstance(self.cv, Integral):
            return None
        return ShuffledFolds(self.cv, is_classifier(self.estimator), check_random_state(self.random_state))

    def _format_results(
        self, candidate_params: Sequence[dict], n_splits: int, out: Sequence[dict], more_results: Any = None
    ) -> dict[str, Any]:
        """Return `cv_results_` of all candidates, also of those that are not trained (yet)."""
        n_missing = len(self._candidates) - len(candidate_params)
        out = [*out, *[out[0] | NOT_TRAINED] * (n_missing * n_splits)]
        with warnings.catch_warnings():
            if any(result["group"] == UNFINISHED for result in out):
                warnings.filterwarnings("ignore", "One or more of the test scores are non-finite", UserWarning)
            return super()._format_results(self._candidates, n_splits, out, more_results)

    def _check_refit_for_multimetric(self, scores: Any) -> None:
        raise ValueError(f"scoring={self.scoring!r} gives several scores; give one.")

    def _weigh(self, models: Sequence[FoldModel], X: Any, target: Target) -> None:
        """Set the weights of the candidates, and the ensemble of their models."""
        folds = [models[i : i + self.n_splits_] for i in range(0, len(models), self.n_splits_)]
        finished = [i for i, of_candidate in enumerate(folds) if all(model.is_fitted for model in of_candidate)]
        if not finished:
            raise ValueError("no candidate could be trained on all folds; see the warnings for the errors.")
        p = np.stack([out_of_fold(folds[i], X, _num_samples(X), target.classes) for i in finished])
        n_candidates = len(self.cv_results_["params"])
        self.weights_, self.losses_ = np.zeros(n_candidates), np.full(n_candidates, np.nan)
        self.weights_[finished], self.losses_[finished] = weigh(target, p)
        self.oof_predictions_ = np.average(p, axis=0, weights=self.weights_[finished])
        kept = [(model.estimator, self.weights_[i] / self.n_splits_) for i in finished for model in folds[i]]
        estimators, weights = zip(*[(model, weight) for model, weight in kept if weight], strict=True)
        self.best_estimator_ = FrozenEnsemble(list(estimators), np.array(weights))
        if hasattr(self.best_estimator_, "feature_names_in_"):
            self.feature_names_in_ = self.best_estimator_.feature_names_in_

    @property
    def estimators_(self) -> list[Any]:
        """The models of the candidates with a weight, one for each fold."""
        return list(self.best_estimator_.estimators)

    @property
    def leaderboard_(self) -> Any:
        """The candidates, best first."""
        results = self.cv_results_
        try:
            import pandas as pd
        except ImportError as error:  # an attribute that is not there, as `inspect.getmembers` expects
            raise AttributeError("leaderboard_ needs pandas; install it with: pip install 'sknn[pandas]'") from error
        order = np.lexsort((self.losses_, results["rank_test_score"]))
        columns = {
            "rank": np.argsort(order) + 1,
            "score": results["mean_test_score"],
            "loss": self.losses_,
            "weight": self.weights_,
            "seconds": results["mean_fit_time"] * self.n_splits_,
        }
        frame = pd.DataFrame(columns).join(pd.DataFrame(results["params"]))
        return frame.rename_axis("candidate").iloc[order]


def can_embed(X: Any) -> bool:
    """Return whether embeddings of the columns are possible, and worth their time."""
    return not sp.issparse(X) and len(np.shape(X)) == 2 and np.shape(X)[1] <= EMBEDDED_COLUMNS


class ShuffledFolds:
    """Folds of shuffled rows, stratified for a classifier: the same in all rounds of a search."""

    def __init__(self, n_splits: Any, classifies: bool, random_state: np.random.RandomState) -> None:
        self.n_splits, self.classifies = n_splits, classifies
        self.seed = random_state.randint(np.iinfo(np.int32).max)

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Any:
        folds = check_cv(self.n_splits, y, classifier=self.classifies)
        folds.shuffle, folds.random_state = True, self.seed
        return folds.split(X, y, groups)
