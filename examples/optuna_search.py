"""Three ways to search with Optuna: OptunaSearchCV, joint training of several trials, and pruning."""

import warnings

import numpy as np
import optuna
from optuna_integration import OptunaSearchCV
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

from sknn import NeuralClassifier
from sknn.callbacks import OptunaPruning
from sknn.model_selection import GridSearchCV, search_space

warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
warnings.filterwarnings("ignore", message=".*terminator", category=FutureWarning)
optuna.logging.set_verbosity(optuna.logging.WARNING)
X, y = load_wine(return_X_y=True)
net = NeuralClassifier(hidden_layer_sizes=16, ensemble_size=2, max_iter=20, random_state=0)
space = search_space(net, n_samples=len(y), kind="optuna")

search = OptunaSearchCV(net, space, n_trials=5, cv=3, random_state=0, scoring="neg_log_loss").fit(X, y)
print(f"OptunaSearchCV: log loss {-search.best_score_:.3f}")

# Ask Optuna for several trials, train them jointly, and tell it their scores, so that the sampler learns every round.
study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
for _ in range(3):
    trials = [study.ask(space) for _ in range(8)]
    grid = [{name: [value] for name, value in trial.params.items()} for trial in trials]
    scores = GridSearchCV(net, grid, cv=3, scoring="neg_log_loss", refit=False).fit(X, y).cv_results_["mean_test_score"]
    for trial, score in zip(trials, scores, strict=True):
        study.tell(trial, score)
print(f"ask and tell, 3 rounds of 8 trials: log loss {-study.best_value:.3f}")

X_train, X_val, y_train, y_val = train_test_split(X, y, stratify=y, random_state=0)


def objective(trial):
    params = {name: trial.suggest_float(name, d.low, d.high, log=d.log) for name, d in space.items()}
    clf = NeuralClassifier(**net.get_params() | params | {"callbacks": [OptunaPruning(trial)]})
    return min(row["valid_loss"] for row in clf.fit(X_train, y_train, X_val=X_val, y_val=y_val).history_)


pruned = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), pruner=optuna.pruners.MedianPruner(3))
pruned.optimize(objective, n_trials=12)
states = [trial.state.name for trial in pruned.trials]
print(f"pruning: {states.count('PRUNED')} of {len(states)} trials ended early")
print(f"best dropout {np.round(pruned.best_params['dropout'], 2)}")
