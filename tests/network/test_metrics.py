"""Metrics over members against scikit-learn's functions, for each member."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as reference

from sknn.network.metrics import METRICS, weighted_mean

MEMBERS = 2
few_examples = settings(max_examples=40, deadline=None)
sizes = st.integers(2, 25)


@st.composite
def tables(draw, targets, predictions, outputs=st.integers(1, 3)):
    """Draw predictions and targets (M, n, K), and weights (M, n) or None."""
    shape = MEMBERS, draw(sizes), draw(outputs)
    weights = hnp.arrays(float, shape[:2], elements=st.sampled_from([0.25, 1.0, 2.0, 3.5]))
    p, y = draw(hnp.arrays(float, shape, elements=predictions)), draw(hnp.arrays(float, shape, elements=targets))
    return p, y, draw(st.none() | weights)


labels = st.sampled_from([0.0, 1.0])
shares = st.floats(0.01, 0.99)
tied_shares = st.sampled_from([0.125, 0.25, 0.5, 0.75, 0.875])
values = st.sampled_from([-3.0, -1.5, 0.0, 0.25, 1.0, 4.0])


def measured(kind, name, p, y, weight):
    tensors = [None if a is None else torch.from_numpy(np.ascontiguousarray(a)) for a in (p, y, weight)]
    actual = METRICS[kind][name](*tensors)
    assert actual.shape == (p.shape[0],)
    return actual.numpy()


def per_member(function, p, y, weight):
    return [function(y[m], p[m], sample_weight=None if weight is None else weight[m]) for m in range(len(p))]


def one_hot(codes, n_classes):
    return np.eye(n_classes)[codes]


@given(tables(labels, shares, outputs=st.just(1)))
@few_examples
def test_binary_accuracy_and_log_loss(table):
    p, y, weight = table
    hits = per_member(lambda y, p, **kw: reference.accuracy_score(y, p > 0.5, **kw), p, y, weight)
    np.testing.assert_allclose(measured("binary", "accuracy", p, y, weight), hits)
    losses = per_member(lambda y, p, **kw: reference.log_loss(y, p, labels=[0, 1], **kw), p[..., 0], y[..., 0], weight)
    np.testing.assert_allclose(measured("binary", "log_loss", p, y, weight), losses)


@given(tables(labels, shares, outputs=st.integers(2, 4)), st.integers(0, 1000))
@few_examples
def test_multiclass_accuracy_and_log_loss(table, seed):
    p, y, weight = table
    p = p / p.sum(2, keepdims=True)
    codes = np.random.default_rng(seed).integers(p.shape[2], size=p.shape[:2])
    y = one_hot(codes, p.shape[2])
    hits = per_member(lambda y, p, **kw: reference.accuracy_score(y, p.argmax(1), **kw), p, codes, weight)
    np.testing.assert_allclose(measured("multiclass", "accuracy", p, y, weight), hits)
    losses = per_member(reference.log_loss, p, y, weight)
    np.testing.assert_allclose(measured("multiclass", "log_loss", p, y, weight), losses)


@given(tables(labels, shares, outputs=st.integers(2, 4)))
@few_examples
def test_multilabel_accuracy_is_the_exact_match(table):
    p, y, weight = table
    hits = per_member(lambda y, p, **kw: reference.accuracy_score(y, (p > 0.5).astype(float), **kw), p, y, weight)
    np.testing.assert_allclose(measured("multilabel", "accuracy", p, y, weight), hits)


@given(tables(labels, tied_shares, outputs=st.integers(1, 2)))
@few_examples
def test_roc_auc_with_ties_and_weights(table):
    p, y, weight = table
    y[:, 0, -1], y[:, 1, -1] = 0, 1
    expected = per_member(reference.roc_auc_score, p[..., -1], y[..., -1], weight)
    np.testing.assert_allclose(measured("binary", "roc_auc", p, y, weight), expected, atol=1e-12)


def test_roc_auc_is_nan_if_a_class_is_missing():
    p = np.linspace(0, 1, 8).reshape(2, 4, 1)
    y = np.array([[0, 1, 0, 1], [1, 1, 1, 1]], dtype=float)[..., None]
    assert measured("binary", "roc_auc", p, y, None).tolist() == pytest.approx(
        [reference.roc_auc_score(y[0], p[0]), np.nan], nan_ok=True
    )


@given(tables(values, values))
@few_examples
def test_r2_and_rmse_of_several_outputs(table):
    p, y, weight = table
    np.testing.assert_allclose(
        measured("values", "r2", p, y, weight), per_member(reference.r2_score, p, y, weight), atol=1e-12
    )
    errors = per_member(reference.root_mean_squared_error, p, y, weight)
    np.testing.assert_allclose(measured("values", "rmse", p, y, weight), errors)


@given(tables(values, values, outputs=st.just(2)), st.booleans())
@few_examples
def test_r2_of_a_constant_output_is_one_if_predicted_exactly_and_zero_otherwise(table, is_exact):
    p, y, weight = table
    y[..., 0] = 4.0
    p[..., 0] = 4.0 if is_exact else 1.0
    np.testing.assert_allclose(
        measured("values", "r2", p, y, weight), per_member(reference.r2_score, p, y, weight), atol=1e-12
    )


def test_the_log_loss_of_certain_and_wrong_predictions_is_scikit_learns():
    p, y = np.array([0.0, 1.0, 0.5]).reshape(1, 3, 1), np.array([1.0, 0.0, 1.0]).reshape(1, 3, 1)
    expected = reference.log_loss(y.ravel(), p.ravel())
    np.testing.assert_allclose(measured("binary", "log_loss", p, y, None), [expected])


@given(tables(values, values))
@few_examples
def test_the_weighted_mean_agrees_with_numpys_average(table):
    array, _, weight = table
    actual = weighted_mean(torch.from_numpy(array), None if weight is None else torch.from_numpy(weight))
    for m in range(MEMBERS):
        np.testing.assert_allclose(
            actual[m], np.average(array[m], axis=0, weights=None if weight is None else weight[m])
        )
