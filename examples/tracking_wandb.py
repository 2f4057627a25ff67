"""Log a fit to Weights & Biases without a network connection.

To upload the run, type `wandb sync wandb/offline-run-*`. Without `mode`, a run is uploaded during the training.
"""

from pathlib import Path

from sklearn.datasets import load_breast_cancer

from sknn import NeuralClassifier
from sknn.callbacks import WandbTracker


def main():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    tracker = WandbTracker("breast-cancer", name="small network", options={"mode": "offline"})
    clf = NeuralClassifier(hidden_layer_sizes=(32,), max_iter=30, metrics=["accuracy"], random_state=0)
    clf.set_params(callbacks=[tracker]).fit(X, y)
    print(f"{clf.n_iter_} epochs, validation loss {clf.history_[-1]['valid_loss']:.3f}")
    runs = sorted(str(folder) for folder in Path("wandb").glob("offline-run-*"))
    print("Now type: wandb sync", *runs)


if __name__ == "__main__":
    main()
