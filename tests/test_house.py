"""The house: which file may import which, what may be imported at all, and that everything says what it is."""

import ast
import inspect
import re
import sys
from pathlib import Path

import pytest

import sknn

ROOT = Path(sknn.__file__).parent
DESIGN = ROOT.parent / "docs" / "design.md"

# Each file imports only from files above it.  docs/design.md says what each is for, in the same order.
HOUSE = [
    "_warnings.py",
    "_one_thread.py",
    "_device.py",
    "network/products.py",
    "network/activations.py",
    "network/flat.py",
    "network/layers.py",
    "network/embeddings.py",
    "network/losses.py",
    "network/metrics.py",
    "network/schedules.py",
    "network/optimizers.py",
    "network/mlp.py",
    "network/own_draws.py",
    "network/custom.py",
    "_tables.py",
    "_levels.py",
    "_encoding.py",
    "_targets.py",
    "_callbacks.py",
    "_html.py",
    "history/diagnosis.py",
    "history/records.py",
    "history/progress.py",
    "history/curves.py",
    "history/html.py",
    "training/batches.py",
    "training/encoded_prediction.py",
    "training/captured_steps.py",
    "training/plan.py",
    "training/continued.py",
    "training/net.py",
    "training/full_batch.py",
    "training/together.py",
    "_parameters.py",
    "_scoring.py",
    "_assembly.py",
    "_attributes.py",
    "_state.py",
    "_prediction.py",
    "_base.py",
    "_classifier.py",
    "_regressor.py",
    "_from_sklearn.py",
    "persistence/container.py",
    "persistence/fitted.py",
    "persistence/steps.py",
    "persistence/classes.py",
    "persistence/codec.py",
    "persistence/files.py",
    "persistence/__init__.py",
    "search/progress.py",
    "search/fits.py",
    "search/batched_fits.py",
    "search/spaces.py",
    "model_selection.py",
    "inspection/axes.py",
    "inspection/estimators.py",
    "inspection/training_curve.py",
    "inspection/network_summary.py",
    "inspection/network_display.py",
    "inspection/__init__.py",
    "callbacks/optuna_pruning.py",
    "callbacks/time_budget.py",
    "callbacks/tracking.py",
    "callbacks/tensorboard_tracking.py",
    "callbacks/wandb_tracking.py",
    "callbacks/mlflow_tracking.py",
    "callbacks/__init__.py",
    "_autolog.py",
    "onnx_predictor.py",
    "export/made_up_rows.py",
    "export/onnx_graph.py",
    "export/onnx_columns.py",
    "export/onnx_encoder.py",
    "export/onnx_network.py",
    "export/onnx_custom.py",
    "export/onnx_estimator.py",
    "export/onnx_converters.py",
    "export/onnx_imputer.py",
    "export/onnx_passthrough.py",
    "export/onnx_categories.py",
    "export/onnx_inputs.py",
    "export/onnx_steps.py",
    "export/onnx_check.py",
    "export/onnx_conversion.py",
    "export/onnx_metadata.py",
    "export/onnx_export.py",
    "export/tensorflow_ops.py",
    "export/saved_model.py",
    "export/torch_encoder.py",
    "export/torch_program.py",
    "export/__init__.py",
    "__init__.py",
    "cli.py",
    "__main__.py",
]
FOLDERS = [f"{name}/__init__.py" for name in ("history", "network", "search", "training")]  # that export nothing
REQUIRED_PACKAGES = {"joblib", "numpy", "scipy", "sklearn", "skorch", "threadpoolctl", "torch"}
SECTION = re.compile(r"^\s*(\w[\w ]*)\n\s*-{3,}$", re.MULTILINE)


def files():
    """Names of the package's files, as in `HOUSE`."""
    paths = (path.relative_to(ROOT) for path in ROOT.rglob("*.py"))
    return sorted(path.as_posix() for path in paths if path.as_posix() not in FOLDERS)


def tree(name):
    return ast.parse((ROOT / name).read_text())


def imported_modules(nodes):
    """Full names of the modules that these statements import."""
    modules = []
    for node in nodes:
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules.append("." * node.level + (node.module or ""))
    return modules


def file_of(module):
    """The file in `HOUSE` of a module of the package."""
    path = module.replace(".", "/").removeprefix("sknn").removeprefix("/")
    return (f"{path}/__init__.py" if (ROOT / path).is_dir() else f"{path}.py").removeprefix("/")


def executed_on_import(node):
    """A module's statements, without the bodies of its functions."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from executed_on_import(child)


def public_functions():
    """Functions and classes of the API, and the public methods that the classes define."""
    for module in (sknn, *(getattr(sknn, name) for name in sknn.__all__)):
        if inspect.ismodule(module):
            yield from public_functions_of(module)


def public_functions_of(module):
    for name in module.__all__:
        value = getattr(module, name)
        if callable(value) and not (inspect.isclass(value) and issubclass(value, Exception)):
            yield name, value
        if inspect.isclass(value) and module is sknn:  # elsewhere skorch's and scikit-learn's names say what they do
            for method_name, method in inspect.getmembers(value, inspect.isfunction):
                if not method_name.startswith("_") and method.__module__.startswith("sknn"):
                    yield f"{name}.{method_name}", method


def test_every_file_has_its_place_in_the_house():
    assert files() == sorted(HOUSE)


def test_the_design_page_lists_the_same_files_in_the_same_order():
    rows = re.findall(r"^\| `([\w/]+\.py)`", DESIGN.read_text(), re.MULTILINE)

    assert rows == HOUSE


@pytest.mark.parametrize("name", HOUSE)
def test_a_file_imports_only_from_files_above_it(name):
    own = [m for m in imported_modules(ast.walk(tree(name))) if m.partition(".")[0] == "sknn"]

    below = [module for module in own if HOUSE.index(file_of(module)) >= HOUSE.index(name)]

    assert below == []


@pytest.mark.parametrize("name", HOUSE)
def test_importing_a_file_needs_no_optional_package(name):
    packages = {module.partition(".")[0] for module in imported_modules(executed_on_import(tree(name)))}

    assert packages - REQUIRED_PACKAGES - set(sys.stdlib_module_names) <= {"sknn"}


@pytest.mark.parametrize("name", [*HOUSE, *FOLDERS])
def test_a_file_says_in_its_first_line_what_it_is_for(name):
    first_line = (ROOT / name).read_text().partition("\n")[0]

    assert re.fullmatch(r'"""[A-Z_`].*[.:?](""")?', first_line)


@pytest.mark.parametrize(("name", "function"), [pytest.param(*pair, id=pair[0]) for pair in public_functions()])
def test_a_public_function_has_a_numpydoc_docstring(name, function):
    docstring = inspect.cleandoc(function.__doc__)
    summary, sections = docstring.partition("\n")[0], SECTION.findall(docstring)

    assert summary.endswith(".")
    assert {"Parameters", "Attributes"} & set(sections)
    assert inspect.isclass(function) or "Returns" in sections
