"""The table of a network's layers, compared with built-in and custom networks."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Freezer
from torch import nn

from sknn import NeuralClassifier, NeuralRegressor
from sknn.inspection import summary
from tests.common import ALIKE

X, y = load_iris(return_X_y=True)
SMALL = {"hidden_layer_sizes": (8, 4), "max_iter": 2, "ensemble_size": 1, "random_state": 0}
DIGITS = load_digits()
IMAGES = DIGITS.images[:200, None] / 16


def convolutional(in_features, out_features):
    layers = [nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(32, out_features))


class Recurrent(nn.Module):
    """A module with a layer that returns a tuple, a parameter outside of layers, a buffer, and a shared layer."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.rnn = nn.GRU(1, 5, batch_first=True)
        self.again = nn.Linear(5, 5)
        self.shared = self.again
        self.norm = nn.BatchNorm1d(5)
        self.out = nn.Linear(5, out_features)
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, x):
        last = self.rnn(x[:, :, None])[0][:, -1]
        return self.factor * self.out(self.norm(self.shared(self.again(last))))


def table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(200, 2)), columns=["a", "b"])
    return frame.assign(city=rng.choice([f"city {i}" for i in range(20)], 200))


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("embedding", [None, "periodic", "piecewise_linear"])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_parameters_of_the_built_in_network_are_all_counted(n_members, embedding, batch_norm):
    settings = {"ensemble_size": n_members, "numeric_embedding": embedding, "batch_norm": batch_norm}
    settings["target_means"] = True
    reg = NeuralRegressor(**SMALL | settings)
    reg.fit(table(), np.arange(200.0))
    network = summary(reg)

    buffers = sum(b.numel() for name, b in reg.module_.named_buffers() if not name.endswith("starts"))
    (kind,) = network.kinds
    assert (network.n_members, kind.n_members, kind.weight) == (n_members, n_members, 1)
    assert network.total_parameters == kind.n_parameters * n_members == count(reg.module_)
    assert network.total_fixed == kind.n_fixed * n_members == buffers
    assert [layer.name for layer in network.layers][-1] == f"layers.{len(reg.module_.layers) - 1}"


def test_layers_have_kinds_and_output_shapes():
    reg = NeuralRegressor(**SMALL, numeric_embedding="periodic", batch_norm=True, dropout=(0.1, 0.2), activation="relu")
    reg.fit(table(), np.arange(200.0))

    assert [(layer.kind, layer.output_shape) for layer in summary(reg).layers] == [
        ("PeriodicEmbedding", (2 * 4,)),
        ("CategoricalEmbedding", (8,)),
        ("ScaledLinear", (8,)),
        ("BatchNorm", (8,)),
        ("Activation(relu)", (8,)),
        ("Dropout(rate=0.1)", (8,)),
        ("Linear", (4,)),
        ("BatchNorm", (4,)),
        ("Activation(relu)", (4,)),
        ("Dropout(rate=0.2)", (4,)),
        ("OutputLinear", (1,)),
    ]


def test_statistics_describe_the_weights_of_all_members():
    clf = NeuralClassifier(**SMALL | {"ensemble_size": 3}, **ALIKE, scaling="standard").fit(X, y)
    weight = summary(clf).layers[0].tensors[0]
    values = clf.coefs_[0]

    assert (weight.name, weight.shape, weight.n_parameters) == ("weight", values.shape[1:], values[0].size)
    np.testing.assert_allclose([weight.mean, weight.std], [values.mean(), values.std()], rtol=1e-5)
    np.testing.assert_allclose(weight.largest, np.abs(values).max())
    assert weight.histogram.sum() == values.size
    assert weight.near_zero == (np.abs(values) < 0.01 * np.sqrt((values.astype(float) ** 2).mean())).mean()


def test_weights_that_are_zero_are_near_zero():
    clf = NeuralClassifier(**SMALL).fit(X, y)
    with torch.no_grad():
        clf.module_.layers[0].weight[:, :, :4] = 0
        clf.module_.layers[3].weight.zero_()
    half, dead = (summary(clf).layers[i].tensors[0] for i in (0, 3))

    assert 0.5 <= half.near_zero < 0.6
    assert (dead.near_zero, dead.largest) == (1, 0)
    assert dead.histogram.argmax() == len(dead.histogram) // 2


def test_a_frozen_tensor_is_marked():
    clf = NeuralClassifier(**SMALL, callbacks=[Freezer("layers.0.weight")]).fit(X, y)

    assert [tensor.name for tensor in summary(clf).layers[0].tensors] == ["weight (frozen)", "bias", "scale"]


def test_a_custom_module_shows_its_own_layers():
    clf = NeuralClassifier(module=convolutional, ensemble_size=2, max_iter=1, random_state=0)
    network = summary(clf.fit(IMAGES, DIGITS.target[:200]))

    assert [layer.name for layer in network.layers] == ["0", "1", "2", "3", "4"]
    assert [layer.kind for layer in network.layers[:2]] == ["Conv2d", "ReLU"]
    assert network.layers[0].tensors[0].shape == (2, 1, 3, 3)
    assert network.total_parameters == 2 * count(convolutional(None, 10))
    assert {layer.output_shape for layer in network.layers} == {None}


def test_rows_show_the_output_shapes_of_a_custom_module():
    clf = NeuralClassifier(module=convolutional, ensemble_size=2, max_iter=1, random_state=0)
    network = summary(clf.fit(IMAGES, DIGITS.target[:200]), IMAGES)

    assert [layer.output_shape for layer in network.layers] == [(2, 8, 8), (2, 8, 8), (2, 4, 4), (32,), (10,)]


def test_a_module_with_tuples_buffers_and_direct_parameters_is_counted_correctly():
    clf = NeuralClassifier(module=Recurrent, ensemble_size=2, max_iter=1, random_state=0).fit(X, y)
    network = summary(clf, X)

    assert [layer.name for layer in network.layers] == ["module", "rnn", "again", "norm", "out"]
    assert [layer.output_shape for layer in network.layers] == [(3,), (4, 5), (5,), (5,), (3,)]
    assert network.kinds[0].n_parameters == count(Recurrent(4, 3))
    assert network.kinds[0].n_fixed == 2 * 5


def test_a_module_of_a_single_layer():
    clf = NeuralClassifier(module=nn.Linear, ensemble_size=1, max_iter=1, random_state=0).fit(X, y)

    assert [(layer.name, layer.kind, layer.n_parameters) for layer in summary(clf).layers] == [("module", "Linear", 15)]


def test_a_summary_does_not_change_the_network():
    clf = NeuralClassifier(module=Recurrent, ensemble_size=1, max_iter=1, random_state=0).fit(X, y)
    clf.module_.train()
    before, state = {k: v.clone() for k, v in clf.module_.state_dict().items()}, torch.get_rng_state()
    summary(clf, X)

    after = clf.module_.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert torch.equal(torch.get_rng_state(), state)
    assert clf.module_.training
    assert not any(layer._forward_hooks for layer in clf.module_.modules())


def test_the_table_is_aligned_and_adds_up():
    clf = NeuralClassifier(**SMALL | {"ensemble_size": 2}, **ALIKE, dropout=0.0).fit(X, y)
    lines = str(summary(clf)).splitlines()

    assert lines[0] == "NeuralClassifier: 2 members of 95 parameters, 190 in all"
    assert lines[2].split() == ["layer", "kind", "output", "tensor", "shape", "parameters", "mean", "std", "near", "0"]
    assert lines[4].split()[:7] == ["layers.0", "ScaledLinear", "8", "weight", "4", "x", "8"]
    assert lines[-1] == "Output: softmax. Near 0: below 1% of the root mean square."
    end = lines[2].index("parameters") + len("parameters")
    parameters = [int(line[end - 10 : end]) for line in lines[4:-2] if line[end - 1 : end].strip()]
    assert sum(parameters) == 95


@pytest.fixture(scope="module")
def mixed():
    """Return an ensemble of two members with batch norm and one with an embedding, on numbers and a category."""
    reg = NeuralRegressor(**SMALL | {"ensemble_size": 3, "max_iter": 8}, numeric_embedding="auto", batch_norm="auto")
    return reg.fit(table(), np.arange(200.0))


def test_members_of_different_kinds_are_summarised_by_kind(mixed):
    network, parts = summary(mixed), mixed.module_.parts

    kinds = [("batch norm, target means", 2), ("piecewise linear", 1)]
    assert [(kind.kind, kind.n_members) for kind in network.kinds] == kinds
    assert [kind.n_members * kind.n_parameters for kind in network.kinds] == list(map(count, parts))
    assert (network.n_members, network.total_parameters) == (3, count(mixed.module_))
    buffers = [buffer for name, buffer in mixed.module_.named_buffers() if not name.endswith("starts")]
    assert network.total_fixed == sum(buffer.numel() for buffer in buffers)
    np.testing.assert_allclose(
        [kind.weight for kind in network.kinds], [mixed.member_weights_[:2].sum(), mixed.member_weights_[2]]
    )
    assert network.layers == [*network.kinds[0].layers, *network.kinds[1].layers]


def test_each_kind_has_its_layers_and_statistics(mixed):
    norm, embedded = summary(mixed).kinds

    assert [layer.name for layer in norm.layers][:2] == ["categorical", "layers.0"]
    assert [(layer.kind, layer.output_shape) for layer in embedded.layers][:3] == [
        ("PiecewiseLinearEmbedding", (2 * 8,)),
        ("CategoricalEmbedding", (8,)),
        ("ScaledLinear", (8,)),
    ]
    for kind, part in zip((norm, embedded), mixed.module_.parts, strict=True):
        for layer in kind.layers:
            for tensor in layer.tensors:
                values = part.get_parameter(f"{layer.name}.{tensor.name}").detach().numpy()
                np.testing.assert_allclose([tensor.mean, tensor.std], [values.mean(), values.std()], atol=1e-6)


def test_the_table_of_several_kinds_has_a_block_for_each(mixed):
    lines = str(summary(mixed)).splitlines()
    norm, embedded = summary(mixed).kinds

    blocks = [i for i, line in enumerate(lines) if set(line) == {"-"}]
    assert lines[0] == f"NeuralRegressor: 3 members, {count(mixed.module_):,} parameters in all"
    assert [lines[i + 1] for i in blocks[1:4:2]] == [
        f"batch norm, target means: 2 members of {norm.n_parameters:,} parameters, weight {norm.weight:.2f}",
        f"piecewise linear: 1 member of {embedded.n_parameters:,} parameters, weight {embedded.weight:.2f}",
    ]
    assert len(blocks) == 6
    end = lines[2].index("parameters") + len("parameters")
    for kind, (first, last) in zip((norm, embedded), (blocks[2:4], blocks[4:6]), strict=True):
        numbers = [line[end - 10 : end].replace(",", "") for line in lines[first + 1 : last]]
        assert sum(int(number) for number in numbers if number.strip()) == kind.n_parameters
    n_fixed = 2 * norm.n_fixed + embedded.n_fixed
    assert lines[-1].startswith(f"Output: identity. Not trained: {n_fixed:,} values in all. Near 0: ")


def test_print_and_repr_show_the_table(capsys):
    network = summary(NeuralClassifier(**SMALL).fit(X, y))

    assert capsys.readouterr().out == ""
    assert repr(network) == str(network)
    assert network.title == "NeuralClassifier: 95 parameters"


def test_long_descriptions_are_cut():
    clf = NeuralClassifier(module=convolutional, ensemble_size=1, max_iter=1, random_state=0)
    lines = str(summary(clf.fit(IMAGES, DIGITS.target[:200]))).splitlines()

    assert "MaxPool2d(kernel_size=2, st..." in lines[7]


def test_a_pipeline_shows_its_estimator():
    pipe = make_pipeline(StandardScaler(), NeuralClassifier(**SMALL)).fit(X, y)

    assert str(summary(pipe)) == str(summary(pipe[-1]))


def test_an_estimator_that_is_not_fitted_is_refused():
    with pytest.raises(NotFittedError, match="NeuralClassifier instance is not fitted yet"):
        summary(NeuralClassifier())
