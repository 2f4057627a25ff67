"""Fits in TensorBoard, read with TensorBoard's reader."""

import sys

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import parallel_config
from scipy.sparse import csr_matrix
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.plugins.hparams import metadata, plugin_data_pb2

from sknn import NeuralClassifier, NeuralRegressor
from sknn.callbacks import TensorBoardTracker
from tests.common import SMALL

X, Y = make_classification(60, 5, random_state=0)


def read(folder):
    return EventAccumulator(str(folder), size_guidance={"histograms": 0, "scalars": 0}).Reload()


def only_run(folder):
    (run,) = folder.iterdir()
    return read(run)


def fitted(folder, tracker=None, cls=NeuralClassifier, y=Y, X=X, **params):
    est = cls(**SMALL | params, callbacks=[TensorBoardTracker(folder, **tracker or {})]).fit(X, y)
    return est, only_run(folder)


def curve(run, tag):
    scalars = run.Scalars(tag)
    return [scalar.step for scalar in scalars], [scalar.value for scalar in scalars]


@pytest.mark.parametrize("n_members", [1, 3])
def test_losses_metrics_and_learning_rate_are_those_of_the_history(tmp_path, n_members):
    clf, run = fitted(tmp_path, ensemble_size=n_members, metrics=["accuracy"])
    tags = {"loss/train": "train_loss", "loss/valid": "valid_loss", "accuracy/train": "train_accuracy"}
    tags |= {"accuracy/valid": "valid_accuracy", "training/learning_rate": "learning_rate"}
    for tag, name in (tags | {"training/seconds": "seconds", "gap": "gap"}).items():
        steps, values = curve(run, tag)
        assert steps == [1, 2, 3, 4]
        np.testing.assert_allclose(values, [row[name] for row in clf.history_], rtol=1e-6)


def test_a_regressor_has_its_curves(tmp_path):
    reg, run = fitted(tmp_path, cls=NeuralRegressor, y=X[:, 0] * 2, metrics=["r2"], early_stopping=False)
    np.testing.assert_allclose(curve(run, "r2/train")[1], [row["train_r2"] for row in reg.history_], rtol=1e-6)
    assert "loss/valid" not in run.Tags()["scalars"]


def test_histograms_are_written_every_so_many_epochs(tmp_path):
    clf, run = fitted(tmp_path, {"histograms_every": 3}, early_stopping=False)
    assert set(run.Tags()["histograms"]) == {name for name, _ in clf.module_.named_parameters()}
    histograms = run.Histograms("layers.0.weight")
    assert [histogram.step for histogram in histograms] == [1, 4]
    weights = dict(clf.module_.named_parameters())["layers.0.weight"].detach().numpy()
    last = histograms[-1].histogram_value
    assert (last.num, last.min, last.max) == (weights.size, weights.min(), weights.max())
    assert last.sum == pytest.approx(weights.sum(), rel=1e-4)
    edges, counts = [weights.min(), *last.bucket_limit[1:]], last.bucket[1:]
    np.testing.assert_array_equal(counts, np.histogram(weights, edges)[0])


def test_kinds_of_members_have_their_own_histograms_weights_and_parts_of_the_graph(tmp_path):
    clf, run = fitted(tmp_path, ensemble_size=3, batch_norm="auto", numeric_embedding="auto")
    norm, embedded = clf.module_.parts
    names = {f"batch_norm/{name}": p for name, p in norm.named_parameters()}
    names |= {f"piecewise_linear/{name}": p for name, p in embedded.named_parameters()}
    assert set(run.Tags()["histograms"]) == set(names)
    for name, weights in names.items():
        assert run.Histograms(name)[0].histogram_value.num == weights.numel()
    weights = [curve(run, f"weight_{kind}") for kind in ("batch_norm", "piecewise_linear")]
    assert weights == [
        ([4], [pytest.approx(share)]) for share in (clf.member_weights_[:2].sum(), clf.member_weights_[2])
    ]
    layers = " ".join(node.name for node in GraphDef.FromString(run.Graph().SerializeToString()).node)
    assert "/MLP[0]/BatchNorm[1]/" in layers
    assert "/MLP[1]/PiecewiseLinearEmbedding[numeric]/" in layers


def test_histograms_and_graph_can_be_left_out(tmp_path):
    _, run = fitted(tmp_path, {"histograms_every": 0, "graph": False})
    assert run.Tags()["histograms"] == []
    assert run.Tags()["graph"] is False


MIXED = pd.DataFrame(X, columns=list("abcde")).assign(f=[f"level {i % 20}" for i in range(60)])


@pytest.mark.parametrize("X", [X, MIXED, csr_matrix(X)], ids=["numbers", "categories", "sparse"])
@pytest.mark.parametrize(
    "params",
    [{}, {"ensemble_size": 1}, {"numeric_embedding": "periodic", "batch_norm": True}, {"scaling": "standard"}],
    ids=["ensemble", "one", "embedded", "plain"],
)
def test_the_graph_has_the_networks_layers(tmp_path, X, params):
    clf, run = fitted(tmp_path, X=X, **params)
    names = " ".join(node.name for node in GraphDef.FromString(run.Graph().SerializeToString()).node)
    assert all(f"/{type(layer).__name__}[{i}]/" in names for i, layer in enumerate(clf.module_.layers))


class Alternating(torch.nn.Module):
    """Alternates between two computations, which can't be traced."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.linear, self.n_calls = torch.nn.Linear(in_features, out_features), 0

    def forward(self, x):
        self.n_calls += 1
        return self.linear(x) + (x.sum() if self.n_calls % 2 else 0)


def test_the_graph_of_a_users_module_is_drawn_or_gives_a_warning(tmp_path):
    _, run = fitted(tmp_path / "linear", module=torch.nn.Linear)
    assert run.Tags()["graph"] is True
    with pytest.warns(UserWarning, match="TensorBoard did not log everything"):
        clf, run = fitted(tmp_path / "alternating", module=Alternating)
    assert len(curve(run, "loss/train")[0]) == clf.n_iter_


def hparams_of(run, tag):
    content = run.SummaryMetadata(tag).plugin_data.content
    return plugin_data_pb2.HParamsPluginData.FromString(content)


def test_parameters_are_written_with_the_last_values(tmp_path):
    clf, run = fitted(tmp_path, dropout=0.25, metrics=["accuracy"])
    params = hparams_of(run, metadata.SESSION_START_INFO_TAG).session_start_info.hparams
    assert params["dropout"].number_value == 0.25
    assert params["hidden_layer_sizes"].string_value == "[6]"
    assert params["callbacks"].string_value == "['TensorBoardTracker']"
    names = {info.name.tag for info in hparams_of(run, metadata.EXPERIMENT_TAG).experiment.metric_infos}
    assert {"loss/valid", "accuracy/valid", "best_validation_score", "n_iter"} <= names <= set(run.Tags()["scalars"])
    assert curve(run, "best_validation_score") == ([4], [pytest.approx(clf.best_validation_score_)])


def test_concurrent_fits_write_to_different_folders(tmp_path):
    clf = NeuralClassifier(**SMALL, callbacks=[TensorBoardTracker(tmp_path, graph=False)])
    with parallel_config("threading", n_jobs=2):
        GridSearchCV(clf, {"dropout": [0.0, 0.5]}, cv=2).fit(X, Y)
    runs = sorted(tmp_path.iterdir())
    assert len(runs) == 5
    assert all(curve(read(run), "loss/train")[0] == [1, 2, 3, 4] for run in runs)


def test_partial_fit_and_warm_start_continue_a_named_run(tmp_path):
    clf = NeuralClassifier(**SMALL, warm_start=True, callbacks=[TensorBoardTracker(tmp_path, "stream")])
    for _ in range(3):
        clf.partial_fit(X, Y, classes=[0, 1])
    assert curve(only_run(tmp_path), "loss/train") == ([1, 2, 3], pytest.approx(clf.loss_curve_))
    clf.fit(X, Y)
    assert curve(only_run(tmp_path), "loss/train")[0] == [1, 2, 3, 4, 5, 6, 7]


class FailingCallback(Callback):
    def on_epoch_end(self, net, **kwargs):
        raise RuntimeError("no more")


def test_the_run_of_a_failed_fit_can_be_read(tmp_path):
    with pytest.raises(RuntimeError, match="no more"):
        NeuralClassifier(**SMALL, callbacks=[TensorBoardTracker(tmp_path), FailingCallback()]).fit(X, Y)
    run = only_run(tmp_path)
    assert curve(run, "loss/train")[0] == [1]
    assert "hparams" not in run.summary_metadata


def test_without_tensorboard_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"TensorBoardTracker needs TensorBoard; .*'sknn\[tensorboard\]'"):
        NeuralClassifier(**SMALL, callbacks=[TensorBoardTracker(tmp_path)]).fit(X, Y)


@pytest.mark.parametrize("every", ["a", -2, 1.5, None])
def test_an_invalid_number_of_epochs_for_histograms_is_refused(every, tmp_path):
    with pytest.raises(ValueError, match=r"histograms_every=.* of TensorBoardTracker must be a number of epochs"):
        NeuralClassifier(callbacks=[TensorBoardTracker(tmp_path, histograms_every=every)]).fit(X, Y)
