"""Log a fit to MLflow with a callback, and a whole search with autologging. The runs are in a database file.

To see them, type `mlflow ui --backend-store-uri sqlite:///mlflow.db` and open the address that it prints. This needs
the package mlflow; mlflow-skinny has no user interface.
"""

import mlflow
import numpy as np
from scipy.stats import loguniform
from sklearn.datasets import load_breast_cancer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sknn
from sknn import NeuralClassifier
from sknn.callbacks import MLflowTracker
from sknn.model_selection import RandomizedSearchCV


def main():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    clf = NeuralClassifier(hidden_layer_sizes=(32,), max_iter=30, metrics=["accuracy"], random_state=0)

    # A callback logs during the training.
    watched = NeuralClassifier(**clf.get_params() | {"callbacks": [MLflowTracker("breast cancer", name="watched")]})
    watched.fit(X, y)
    model = mlflow.sklearn.load_model(mlflow.last_logged_model().model_uri)
    print("The stored model predicts the same:", np.array_equal(model.predict_proba(X), watched.predict_proba(X)))

    # Autologging logs every fit from here on.
    sknn.autolog()
    mlflow.set_experiment("breast cancer")
    pipeline = make_pipeline(StandardScaler(), clf)
    ranges = {"neuralclassifier__learning_rate_init": loguniform(1e-3, 1e-1)}
    RandomizedSearchCV(pipeline, ranges, n_iter=4, cv=3, random_state=0).fit(X, y)
    sknn.autolog(disable=True)

    runs = mlflow.search_runs(experiment_names=["breast cancer"], order_by=["start_time"])
    scores = runs["metrics.mean_test_score"].fillna(runs["metrics.best_score"])
    print(runs[["tags.mlflow.runName", "metrics.valid_loss"]].assign(score=scores).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
