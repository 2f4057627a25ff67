"""The reference program: the network of many tutorials, with sknn's parameters."""

import numpy as np
from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split

from sknn import NeuralClassifier

PROGRAM = dict(
    hidden_layer_sizes=(64, 32),
    activation="relu",
    dropout=(0.3, 0.2),
    solver="adam",
    learning_rate="constant",
    loss="log_loss",
    metrics=["accuracy", "roc_auc"],
    max_iter=50,
    batch_size=32,
    early_stopping=True,
    validation_fraction=0.2,
    n_iter_no_change=5,
    ensemble_size=1,
    random_state=0,
)


def test_the_program_on_synthetic_data_records_metrics_and_stops_early():
    X, y = make_classification(1000, 20, random_state=0)
    clf = NeuralClassifier(**PROGRAM).fit(X, y)
    epochs = clf.history_
    assert len(epochs) == clf.n_iter_ <= 50
    for name in ("train_loss", "valid_loss", "train_accuracy", "valid_accuracy", "train_roc_auc", "valid_roc_auc"):
        assert all(np.isfinite(epoch[name]) for epoch in epochs), name
    assert epochs[-1]["valid_roc_auc"] > 0.9
    # Early stopping: the best validation loss came 5 + 1 epochs before the end.
    losses = [epoch["valid_loss"] for epoch in epochs]
    assert clf.n_iter_ == 50 or clf.n_iter_ - 1 - int(np.argmin(losses)) == 6
    X_new = np.random.default_rng(1).normal(size=(5, 20))
    probabilities = clf.predict_proba(X_new)
    assert probabilities.shape == (5, 2)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert clf.coefs_[1].shape == (64, 32)


def test_the_program_on_real_data_restores_the_best_epoch():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    X_train, X_rest, y_train, y_rest = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
    X_val, X_test, y_val, y_test = train_test_split(X_rest, y_rest, test_size=0.5, stratify=y_rest, random_state=0)
    assert [len(part) for part in (X_train, X_val, X_test)] == [398, 85, 86]
    clf = NeuralClassifier(**PROGRAM).fit(X_train, y_train, X_val=X_val, y_val=y_val)
    assert accuracy_score(y_test, clf.predict(X_test)) > 0.93
    assert roc_auc_score(y_test, clf.predict_proba(X_test)[:, 1]) > 0.98
    # The best epoch was restored: the model has its recorded score on the validation rows.
    best = min(clf.history_, key=lambda epoch: epoch["valid_loss"])
    assert accuracy_score(y_val, clf.predict(X_val)) == np.float32(best["valid_accuracy"])
