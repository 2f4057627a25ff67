"""What several test files use: settings of small estimators, and a callback that keeps what a training does."""

from types import SimpleNamespace

from skorch.callbacks import Callback

# Where it does not matter what is learnt ...
TINY = {"hidden_layer_sizes": (4,), "ensemble_size": 1, "max_iter": 1, "random_state": 0, "n_threads": 1}
# ... where there have to be a few epochs and members ...
SMALL = {"hidden_layer_sizes": (6,), "ensemble_size": 2, "max_iter": 4, "random_state": 0}
# ... and where something has to be learnt.
QUICK = {
    "hidden_layer_sizes": (16,),
    "ensemble_size": 2,
    "max_iter": 15,
    "learning_rate_init": 0.02,
    "random_state": 0,
    "n_threads": 1,
}


class Witness(Callback):
    """Keeps the data of a training, and the weights at its start and after each epoch, in `seen`."""

    def __init__(self):
        self.seen = SimpleNamespace()  # which the copy that takes part in the training shares

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.seen.data, self.seen.weights = X, [net.module_.flat.clone()]

    def on_epoch_end(self, net, **kwargs):
        self.seen.weights.append(net.module_.flat.clone())
