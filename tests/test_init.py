"""The public names: loaded when they are asked for, and otherwise as if they had been imported."""

import ast
import pickle
from pathlib import Path

import pytest

import sknn
from tests.common import printed

HEAVY = ("torch", "sklearn", "skorch", "scipy", "joblib", "pandas")


def run(code):
    """What a fresh process prints."""
    return printed("-W", "error", "-c", code).strip()


def heavy_modules_after(statement):
    return run(f"{statement}\nimport sys\nprint(*[name for name in {HEAVY} if name in sys.modules])")


@pytest.mark.parametrize("statement", ["import sknn", "from sknn import OnnxPredictor", "from sknn import __version__"])
def test_what_predicts_only_does_not_wait_for_torch(statement):
    assert heavy_modules_after(statement) == ""


@pytest.mark.parametrize("name", sknn.__all__)
def test_every_public_name_is_there_and_stays_the_same(name):
    assert getattr(sknn, name) is getattr(sknn, name)


def test_names_that_are_not_loaded_yet_behave_like_those_that_are():
    pickled = pickle.dumps(sknn.NeuralClassifier(max_iter=3))
    lines = run(
        f"""
import pickle, sknn
print(dir(sknn))
print(sknn.model_selection.GridSearchCV.__name__)
print(pickle.loads({pickled!r}).max_iter)
from sknn import *
print(NeuralRegressor.__name__, from_sklearn.__name__)
"""
    )

    assert lines.splitlines() == [str(sorted(sknn.__all__)), "GridSearchCV", "3", "NeuralRegressor from_sklearn"]


def test_what_skops_has_to_trust_is_there_after_importing_sknn():
    assert run("import sknn; print(sknn.persistence.TRUSTED_TYPES[0])") == "sknn.estimators.classifier.NeuralClassifier"


def test_a_wrong_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'sknn' has no attribute 'NeuralClasifier'$"):
        sknn.NeuralClasifier
    with pytest.raises(ImportError, match="cannot import name 'NeuralClasifier' from 'sknn'"):
        exec("from sknn import NeuralClasifier")


def test_type_checkers_see_the_names_that_are_loaded():
    tree = ast.parse(Path(sknn.__file__).read_text())
    branch = next(node for node in tree.body if isinstance(node, ast.If))
    shown = {alias.name: getattr(node, "module", None) for node in branch.body for alias in node.names}

    assert shown == sknn._HOMES | {f"sknn.{name}": None for name in sknn._SUBMODULES}
    assert {*sknn._HOMES, *sknn._SUBMODULES, "__version__"} == set(sknn.__all__)


def test_the_build_reads_the_version_without_importing():
    source = Path(sknn.__file__).read_text()

    assert f'\n__version__ = "{sknn.__version__}"\n' in source
