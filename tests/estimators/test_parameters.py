"""The parameters are described and constrained, and include those of scikit-learn's MLP."""

import dataclasses
import inspect
from html import escape

import numpy as np
import pytest
import sklearn
import torch
from numpydoc.docscrape import NumpyDocString
from sklearn.base import clone
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils._param_validation import InvalidParameterError, StrOptions, validate_parameter_constraints
from sklearn.utils.fixes import parse_version

from sknn import NeuralClassifier, NeuralRegressor
from sknn.estimators.parameters import Use, constraints_of, describe, names, names_used_for, parameter
from tests.common import weights_of

ESTIMATORS = [NeuralClassifier, NeuralRegressor]
PAIRS = [(NeuralClassifier, MLPClassifier), (NeuralRegressor, MLPRegressor)]
EVERY_PARAMETER = [(cls, name) for cls in ESTIMATORS for name in cls._get_param_names()]
X, Y = [[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1]


def test_a_field_gives_a_constraint_and_an_entry_of_the_docstring():
    @dataclasses.dataclass
    class Example:
        size: int = parameter(3, [int], "int", "Its size. " * 20, use=Use.NETWORK, positional=True)
        name: str = parameter("a", [str], "str", "Its name.", use=Use.TRAINING)
        plain: int = 0

    assert constraints_of(Example) == {"size": [int], "name": [str]}
    assert names_used_for(Example, Use.NETWORK) == ["size"]
    lines = describe(Example).split("\n")
    assert lines[0] == "size : int, default=3"
    assert lines[-3:] == ["", "    name : str, default='a'", "        Its name."]
    assert all(len(line) <= 120 and line.startswith(" " * 8) for line in lines[1:-3])
    assert " ".join(lines[1:-3]).split() == ["Its", "size."] * 20
    assert Example(5, name="b") == Example(size=5, name="b")
    with pytest.raises(TypeError, match="positional arguments"):
        Example(5, 0, "b")


def test_names_are_written_in_numpydoc_style():
    assert names(["a", "b"]) == "{'a', 'b'}"


@pytest.mark.parametrize(("cls", "name"), EVERY_PARAMETER)
def test_every_parameter_has_an_entry_that_scikit_learns_display_can_read(cls, name):
    entries = {entry.name: entry for entry in NumpyDocString(inspect.getdoc(cls))["Parameters"]}
    default = inspect.signature(cls).parameters[name].default
    assert entries[name].type.endswith(f"default={default!r}")
    text = " ".join(entries[name].desc)
    assert text[:1].isupper() or text[:1] in "'`"
    assert text.endswith(".")


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_the_docstring_describes_exactly_the_parameters_and_has_every_section(cls):
    doc = NumpyDocString(inspect.getdoc(cls))
    assert [entry.name for entry in doc["Parameters"]] == [field.name for field in dataclasses.fields(cls)]
    assert doc["Summary"]
    assert doc["Attributes"]
    assert doc["Examples"]
    assert doc["See Also"]


@pytest.mark.skipif(parse_version(sklearn.__version__) < parse_version("1.9"), reason="needs scikit-learn 1.9")
@pytest.mark.parametrize("cls", ESTIMATORS)
def test_the_html_display_shows_every_parameter_with_its_description(cls):
    html = cls()._repr_html_()
    for field in dataclasses.fields(cls):
        assert f"Copy {field.name} to clipboard" in html
        first_words = " ".join(field.metadata["text"].split()[:4])
        assert escape(first_words, quote=True) in html


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_signature_fields_and_constraints_hold_the_same_names(cls):
    signature = inspect.signature(cls).parameters
    fields = {field.name: field for field in dataclasses.fields(cls)}
    assert set(signature) == set(fields) == set(cls._parameter_constraints) == set(cls().get_params())
    assert {name: p.default for name, p in signature.items()} == {name: f.default for name, f in fields.items()}


class WithExtraParameter(NeuralClassifier):
    def __init__(self, extra=1, hidden_layer_sizes=(4,)):
        super().__init__(hidden_layer_sizes=hidden_layer_sizes)
        self.extra = extra


def test_parameter_names_are_those_of_the_current_constructor():
    names = NeuralClassifier._get_param_names()
    assert WithExtraParameter._get_param_names() == ["extra", "hidden_layer_sizes"]
    WithExtraParameter._get_param_names().append("unknown")
    assert clone(WithExtraParameter(extra=3)).get_params() == {"hidden_layer_sizes": (4,), "extra": 3}
    assert NeuralClassifier._get_param_names() == names
    derived = type("Derived", (NeuralClassifier,), {})
    assert derived._get_param_names() == names
    derived.__init__ = lambda self, other=2: None
    assert derived._get_param_names() == ["other"]


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_the_first_parameters_are_positional_as_in_scikit_learns_classifier(cls):
    def positional(function):
        return [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]

    assert positional(cls) == positional(MLPClassifier)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_the_defaults_meet_their_constraints(cls):
    est = cls()
    validate_parameter_constraints(cls._parameter_constraints, est.get_params(deep=False), cls.__name__)
    assert clone(est).get_params() == est.get_params()


@pytest.mark.parametrize(("cls", "sklearn_cls"), PAIRS)
def test_the_estimators_accept_the_parameters_and_defaults_of_scikit_learns_mlp(cls, sklearn_cls):
    params = sklearn_cls().get_params()
    est = cls(**params)
    assert {name: est.get_params()[name] for name in params} == params
    est._validate_params()


@pytest.mark.parametrize(("cls", "sklearn_cls"), PAIRS)
def test_the_estimators_accept_every_option_of_scikit_learns_mlp(cls, sklearn_cls):
    def options(constraints):
        return {option for c in constraints if isinstance(c, StrOptions) for option in c.options}

    for name, constraints in sklearn_cls._parameter_constraints.items():
        assert options(constraints) <= options(cls._parameter_constraints[name])


@pytest.mark.parametrize("cls", ESTIMATORS)
@pytest.mark.parametrize(
    ("name", "value", "nearest"),
    [
        ("activation", "relo", "relu"),
        ("activation", "slu", "silu"),
        ("solver", "sdg", "sgd"),
        ("learning_rate", "cosin", "cosine"),
        ("scaling", "standart", "standard"),
        ("numeric_embedding", "piecewise-linear", "piecewise_linear"),
        ("precision", "float46", "float64"),
        ("batch_size", "aut", "auto"),
    ],
)
def test_the_error_for_a_misspelt_value_suggests_the_nearest_one(cls, name, value, nearest):
    message = rf"^The '{name}' parameter of {cls.__name__} must be .* Did you mean {name}={nearest!r}\?$"
    with pytest.raises(InvalidParameterError, match=message):
        cls(**{name: value}).fit(X, Y)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_the_error_for_an_unknown_value_suggests_none_if_none_is_near(cls):
    with pytest.raises(InvalidParameterError, match=r"^The 'activation' parameter") as error:
        cls(activation="zzzz").fit(X, Y)
    assert "Did you mean" not in str(error.value)


@pytest.mark.parametrize("cls", ESTIMATORS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_layer_sizes", 0),
        ("alpha", -1.0),
        ("weight_decay", -1e-3),
        ("batch_size", 0),
        ("learning_rate_init", 0.0),
        ("max_iter", 0),
        ("shuffle", "yes"),
        ("random_state", "a"),
        ("tol", -1.0),
        ("momentum", 1.5),
        ("validation_fraction", 1.0),
        ("beta_1", 1.0),
        ("beta_2", -0.1),
        ("epsilon", 0.0),
        ("n_iter_no_change", 0),
        ("max_fun", 0),
        ("dropout", 1.0),
        ("batch_norm", None),
        ("ensemble_size", 0),
        ("scoring", 3),
        ("n_threads", 0),
        ("device", 0),
        ("module", "MLP"),
    ],
)
def test_the_error_for_a_value_out_of_range_names_the_parameter(cls, name, value):
    with pytest.raises(InvalidParameterError, match=rf"^The '{name}' parameter of {cls.__name__} must be"):
        cls(**{name: value}).fit(X, Y)


@pytest.mark.parametrize(
    ("est", "name"),
    [
        (NeuralClassifier(loss="squared_error"), "loss"),
        (NeuralClassifier(label_smoothing=1.0), "label_smoothing"),
        (NeuralClassifier(class_weight="auto"), "class_weight"),
        (NeuralRegressor(loss="log_loss"), "loss"),
        (NeuralRegressor(quantile=0.0), "quantile"),
        (NeuralRegressor(delta=0.0), "delta"),
    ],
)
def test_parameters_of_a_single_estimator_are_constrained(est, name):
    with pytest.raises(InvalidParameterError, match=f"^The '{name}' parameter of {type(est).__name__} must be"):
        est.fit(X, Y)


@pytest.fixture
def numpy_global_state():
    """Restore the state of numpy's global generator after the test."""
    state = np.random.get_state()
    yield
    np.random.set_state(state)


@pytest.mark.usefixtures("numpy_global_state")
@pytest.mark.parametrize("cls", ESTIMATORS)
def test_without_a_random_state_the_seed_comes_from_numpys_global_generator_and_not_from_torchs(cls):
    rows, torch_state = np.random.RandomState(0).normal(size=(20, 3)), torch.get_rng_state()
    est = cls(hidden_layer_sizes=4, max_iter=1, early_stopping=False)
    predictions = []
    for seed in (0, 0, 1):
        np.random.seed(seed)
        predictions.append(est.fit(rows, np.arange(20) % 2).predict(rows + 0.1))
        after = np.random.get_state()[1:3]
        np.random.seed(seed)
        np.random.randint(np.iinfo(np.int32).max)
        np.testing.assert_array_equal(after[0], np.random.get_state()[1])
        assert after[1] == np.random.get_state()[2]
    np.testing.assert_array_equal(predictions[0], predictions[1])
    assert not torch.equal(weights_of(est), weights_of(clone(est).fit(rows, np.arange(20) % 2)))
    assert torch.equal(torch.get_rng_state(), torch_state)
