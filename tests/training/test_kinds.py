"""The kinds of members: what a parameter fixes, and what differs between the members."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from sknn import NeuralClassifier, NeuralRegressor
from sknn.training.kinds import EMBEDDED_COLUMNS
from sknn.training.target_means import MAX_MEANS
from tests.common import TINY

X = np.random.default_rng(0).normal(size=(40, 3))
Y = X[:, 0] + X[:, 1]
MANY_LEVELS = np.array([[f"level {i % 10}", float(i)] for i in range(40)], dtype=object)
WORDS = np.array([["a", "b"], ["b", "a"], ["a", "a"], ["b", "b"]] * 10, dtype=object)


def kinds(X=X, **parameters):
    reg = NeuralRegressor(**TINY | {"ensemble_size": 5} | parameters).fit(X, Y)
    return [(part.kind, part.n_members) for part in reg.module_.parts]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, [("batch norm", 3), ("piecewise linear", 2)]),
        ({"ensemble_size": "auto"}, [("batch norm", 4), ("piecewise linear", 4)]),
        ({"ensemble_size": 2}, [("batch norm", 1), ("piecewise linear", 1)]),
        ({"ensemble_size": 1}, [("plain", 1)]),
        ({"batch_norm": False}, [("plain", 3), ("piecewise linear", 2)]),
        ({"batch_norm": True}, [("batch norm", 3), ("batch norm, piecewise linear", 2)]),
        ({"numeric_embedding": None}, [("plain", 3), ("batch norm", 2)]),
        ({"numeric_embedding": "periodic"}, [("periodic", 3), ("batch norm, periodic", 2)]),
        ({"batch_norm": False, "numeric_embedding": None}, [("plain", 5)]),
        ({"batch_norm": True, "numeric_embedding": "periodic"}, [("batch norm, periodic", 5)]),
        ({"solver": "lbfgs"}, [("plain", 5)]),
        ({"module": torch.nn.Linear}, [("module", 5)]),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_is_left_at_auto_differs(parameters, expected):
    assert kinds(**parameters) == expected


@pytest.mark.parametrize(
    "X", [WORDS, sp.csr_array(X), np.zeros((40, EMBEDDED_COLUMNS + 1)) + X[:, :1]], ids=["words", "sparse", "wide"]
)
def test_without_columns_to_embed_the_other_half_is_plain(X):
    assert kinds(X) == [("plain", 3), ("batch norm", 2)]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, [("batch norm, target means", 3), ("piecewise linear", 2)]),
        ({"target_means": False}, [("batch norm", 3), ("piecewise linear", 2)]),
        ({"target_means": True}, [("batch norm, target means", 3), ("piecewise linear, target means", 2)]),
        ({"batch_norm": False, "numeric_embedding": None}, [("plain", 3), ("target means", 2)]),
        ({"ensemble_size": 1}, [("plain", 1)]),
        ({"ensemble_size": 1, "target_means": True}, [("target means", 1)]),
    ],
    ids=str,
)
def test_half_of_the_members_take_target_means_of_categories_with_many_levels(parameters, expected):
    assert kinds(MANY_LEVELS, **parameters) == expected


@pytest.mark.parametrize("X", [WORDS, X], ids=["few levels", "numbers"])
def test_without_embedded_categories_there_are_no_target_means(X):
    assert kinds(X, target_means=True) == kinds(X, target_means=False)


def test_with_many_classes_there_are_no_target_means():
    y = np.arange(40) % (MAX_MEANS + 1)
    clf = NeuralClassifier(**TINY | {"ensemble_size": 2}).fit(MANY_LEVELS, y)
    assert [part.kind for part in clf.module_.parts] == ["batch norm", "piecewise linear"]


def test_an_embedding_that_is_asked_for_is_used_for_many_columns():
    wide = np.zeros((40, EMBEDDED_COLUMNS + 1)) + X[:, :1]
    settings = {"numeric_embedding": "piecewise_linear", "batch_norm": False}
    assert kinds(wide, **settings) == [("piecewise linear", 5)]


def test_partial_fit_trains_members_alike():
    clf = NeuralClassifier(**TINY | {"ensemble_size": 4}).partial_fit(X, Y > 0, classes=[False, True])
    assert [(part.kind, part.n_members) for part in clf.module_.parts] == [("plain", 4)]


def test_partial_fit_goes_on_with_members_that_differ():
    clf = NeuralClassifier(**TINY | {"ensemble_size": 4, "max_iter": 3}).fit(X, Y > 0)
    weights, before = clf.member_weights_, clf.predict_proba(X)
    for _ in range(3):
        clf.partial_fit(X, Y > 0)
    assert [part.kind for part in clf.module_.parts] == ["batch norm", "piecewise linear"]
    np.testing.assert_array_equal(clf.member_weights_, weights)
    assert not np.array_equal(clf.predict_proba(X), before)
