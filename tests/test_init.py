"""The public names: imported when they are first used, and otherwise like names that are imported at once."""

import ast
import pickle
from pathlib import Path

import pytest

import sknn
from tests.common import printed

HEAVY = ("torch", "sklearn", "skorch", "scipy", "joblib", "pandas")


def run(code):
    """Return the output of a new process."""
    return printed("-W", "error", "-c", code).strip()


def heavy_modules_after(statement):
    return run(f"{statement}\nimport sys\nprint(*[name for name in {HEAVY} if name in sys.modules])")


@pytest.mark.parametrize("statement", ["import sknn", "from sknn import OnnxPredictor", "from sknn import __version__"])
def test_an_onnx_predictor_does_not_import_torch(statement):
    assert heavy_modules_after(statement) == ""


@pytest.mark.parametrize("name", sknn.__all__)
def test_every_public_name_exists_and_is_the_same_object_each_time(name):
    assert getattr(sknn, name) is getattr(sknn, name)


def test_names_that_are_not_imported_yet_behave_like_imported_ones():
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


def test_the_types_for_skops_are_available_after_importing_sknn():
    assert run("import sknn; print(sknn.persistence.TRUSTED_TYPES[0])") == "sknn.estimators.classifier.NeuralClassifier"


def test_a_wrong_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'sknn' has no attribute 'NeuralClasifier'$"):
        sknn.NeuralClasifier
    with pytest.raises(ImportError, match="cannot import name 'NeuralClasifier' from 'sknn'"):
        exec("from sknn import NeuralClasifier")


def test_type_checkers_see_the_public_names():
    tree = ast.parse(Path(sknn.__file__).read_text())
    branch = next(node for node in tree.body if isinstance(node, ast.If))
    shown = {alias.name: getattr(node, "module", None) for node in branch.body for alias in node.names}

    assert shown == sknn._MODULES | {f"sknn.{name}": None for name in sknn._SUBMODULES}
    assert {*sknn._MODULES, *sknn._SUBMODULES, "__version__"} == set(sknn.__all__)


def test_the_build_can_read_the_version_without_importing():
    source = Path(sknn.__file__).read_text()

    assert f'\n__version__ = "{sknn.__version__}"\n' in source
