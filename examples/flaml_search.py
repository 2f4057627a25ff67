"""AutoML with FLAML: a network among FLAML's learners."""

import warnings

from flaml import AutoML, tune
from flaml.automl.model import SKLearnEstimator
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from sknn import NeuralClassifier


class NeuralLearner(SKLearnEstimator):
    """A learner for FLAML: the estimator's class, and the search space."""

    def __init__(self, task="binary", **config):
        super().__init__(task, **config)
        self.estimator_class = NeuralClassifier

    def config2params(self, config):
        params = super().config2params(config)
        params.pop("n_jobs", None)
        return params | {"hidden_layer_sizes": (32,), "ensemble_size": 2, "max_iter": 15, "random_state": 0}

    @classmethod
    def search_space(cls, data_size, task):
        return {
            "learning_rate_init": {"domain": tune.loguniform(5e-4, 2e-2), "init_value": 3e-3},
            "dropout": {"domain": tune.uniform(0.0, 0.5), "init_value": 0.15},
        }


X_train, X_test, y_train, y_test = train_test_split(*load_breast_cancer(return_X_y=True), random_state=0)
automl = AutoML()
automl.add_learner("sknn", NeuralLearner)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # other libraries give warnings
    automl.fit(
        X_train,
        y_train,
        task="classification",
        estimator_list=["sknn", "lgbm"],
        max_iter=6,
        time_budget=600,  # seconds; six trials need only a few
        metric="log_loss",
        eval_method="cv",
        n_splits=3,
        seed=0,
        verbose=0,
    )
print("losses:", {name: round(loss, 3) for name, loss in automl.best_loss_per_estimator.items()})
print("best:", automl.best_estimator, f"with accuracy {automl.score(X_test, y_test):.3f}")
