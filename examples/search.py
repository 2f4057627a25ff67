"""Tune a pipeline by grid search, random search and successive halving; score it by nested cross-validation."""

import time

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import NeuralClassifier
from sknn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
    cross_val_score,
    search_space,
)

X, y = load_breast_cancer(return_X_y=True)
net = NeuralClassifier(hidden_layer_sizes=(64, 32), ensemble_size=2, max_iter=20, random_state=0)
pipe = make_pipeline(StandardScaler(), net)
folds = StratifiedKFold(5, shuffle=True, random_state=0)

started = time.perf_counter()
pipe.fit(X, y)
one_fit = time.perf_counter() - started

grid = {"neuralclassifier__learning_rate_init": [1e-3, 3e-3, 1e-2], "neuralclassifier__dropout": [0.0, 0.2, 0.4]}
started = time.perf_counter()
search = GridSearchCV(pipe, grid, cv=folds, scoring="neg_log_loss").fit(X, y)
fits = 9 * folds.n_splits + 1  # the last one is the refit with all rows
print(f"grid: {fits} fits in the time of {(time.perf_counter() - started) / one_fit:.0f}")
print(f"  log loss {-search.best_score_:.4f} with {search.best_params_}")

space = search_space(pipe, n_samples=len(y))
search = RandomizedSearchCV(pipe, space, n_iter=8, cv=folds, scoring="neg_log_loss", random_state=0).fit(X, y)
print(
    f"random: log loss {-search.best_score_:.4f}, groups trained jointly: {len(np.unique(search.cv_results_['group']))}"
)

halving = HalvingRandomSearchCV(
    pipe,
    space,
    resource="neuralclassifier__max_iter",
    min_resources=5,
    max_resources=20,
    factor=2,
    cv=folds,
    scoring="neg_log_loss",
    random_state=0,
).fit(X, y)
print(f"halving: {halving.n_candidates_} candidates with {halving.n_resources_} epochs")

nested = cross_val_score(GridSearchCV(pipe, grid, cv=3), X, y, cv=3)
print(f"nested cross-validation: accuracy {nested.mean():.3f}")
