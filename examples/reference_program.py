"""Reference program: a binary classifier with dropout, early stopping and two metrics, on synthetic and real data."""

from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split

from sknn import NeuralClassifier


def classifier():
    """Return a network of layers 64 and 32 with dropout, trained by Adam for at most 50 epochs with early stopping."""
    return NeuralClassifier(
        hidden_layer_sizes=(64, 32),
        activation="relu",
        dropout=(0.3, 0.2),
        solver="adam",
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


def report(clf, X_test, y_test):
    """Print a line for every tenth epoch, and the scores on new rows."""
    print("  epoch   training loss   validation loss   validation accuracy   validation ROC AUC")
    for record in [*clf.history_[::10], clf.history_[-1]]:
        print(
            f"  {record['epoch']:>5}{record['train_loss']:>16.3f}{record['valid_loss']:>18.3f}"
            f"{record['valid_accuracy']:>22.3f}{record['valid_roc_auc']:>21.3f}"
        )
    probability = clf.predict_proba(X_test)[:, 1]
    accuracy, area = accuracy_score(y_test, clf.predict(X_test)), roc_auc_score(y_test, probability)
    print(f"  {len(X_test)} new rows: accuracy {accuracy:.3f}, ROC AUC {area:.3f}\n")


def run_on_synthetic_data():
    """Fit on 1,000 rows of 20 numbers, of which `fit` holds out 20 %; predict probabilities for 5 new rows."""
    X, y = make_classification(n_samples=1200, n_features=20, random_state=0)
    X, X_new, y, y_new = X[:1000], X[1000:], y[:1000], y[1000:]
    clf = classifier().fit(X, y)
    print(f"Synthetic data: {X.shape[0]} rows, {X.shape[1]} columns; stopped after {clf.n_iter_} epochs")
    report(clf, X_new, y_new)
    print("  probability of class 1 for five new rows:", clf.predict_proba(X_new[:5])[:, 1].round(3).tolist(), "\n")
    return clf, X_new


def run_on_real_data():
    """Fit on the breast cancer data, split into 70 % for training, 15 % for validation and 15 % for testing."""
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    X_train, X_rest, y_train, y_rest = train_test_split(X, y, train_size=0.7, stratify=y, random_state=0)
    X_val, X_test, y_val, y_test = train_test_split(X_rest, y_rest, train_size=0.5, stratify=y_rest, random_state=0)
    clf = classifier().fit(X_train, y_train, X_val=X_val, y_val=y_val)
    print(f"Breast cancer: {len(X_train)} training rows, {len(X_val)} validation rows, {len(X_test)} test rows")
    report(clf, X_test, y_test)
    return clf, X_test


if __name__ == "__main__":
    run_on_synthetic_data()
    run_on_real_data()
