"""Log several fits to TensorBoard and compare them.

To see them, type `tensorboard --logdir runs` and open the address that it prints. Curves are under SCALARS, weights
under DISTRIBUTIONS and HISTOGRAMS, the network under GRAPHS, parameters and results under HPARAMS.
"""

from pathlib import Path

from sklearn.datasets import load_breast_cancer

from sknn import NeuralClassifier
from sknn.callbacks import TensorBoardTracker


def main():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    settings = {"hidden_layer_sizes": (32,), "max_iter": 30, "metrics": ["accuracy"], "random_state": 0}
    for dropout in (0.0, 0.5):
        clf = NeuralClassifier(**settings, dropout=dropout, callbacks=[TensorBoardTracker("runs")])
        clf.fit(X, y)
        print(f"dropout {dropout}: validation loss {clf.history_[-1]['valid_loss']:.3f}")

    # With a name, the epochs of all calls of `partial_fit` go into one run.
    clf = NeuralClassifier(hidden_layer_sizes=(32,), random_state=0, callbacks=[TensorBoardTracker("runs", "stream")])
    for start in range(0, len(X), 100):
        clf.partial_fit(X[start : start + 100], y[start : start + 100], classes=[0, 1])

    print("Runs:", *sorted(folder.name for folder in Path("runs").iterdir()), sep="\n  ")
    print("Now type: tensorboard --logdir runs")


if __name__ == "__main__":
    main()
