"""The architecture: which package may import which, what may be imported at all, and that all of it is documented."""

import ast
import graphlib
import inspect
import re
import sys
from pathlib import Path

import pytest

import sknn

ROOT = Path(sknn.__file__).parent
DESIGN = ROOT.parent / "docs" / "design.md"

# A package (or a file beside them) imports only from those above it.
LAYERS = [
    "utils",
    "network",
    "preprocessing",
    "history",
    "training",
    "estimators",
    "persistence",
    "model_selection",
    "inspection",
    "tracking",
    "callbacks",
    "onnx_predictor",
    "monitoring",
    "registry",
    "export",
    "__init__",
    "serving",
    "cli",
    "__main__",
]
REQUIRED_PACKAGES = {"joblib", "numpy", "scipy", "sklearn", "skorch", "threadpoolctl", "torch"}
SERVICE_PACKAGES = {
    "fastapi",
    "fastapi_offline",
    "prometheus_client",
    "pydantic",
    "pydantic_core",
    "starlette",
    "typing_extensions",
    "uvicorn",
}
SECTION = re.compile(r"^\s*(\w[\w ]*)\n\s*-{3,}$", re.MULTILINE)


def files():
    """Paths of the package's files, relative to it."""
    return sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


def layer_of(name):
    """The layer of a file: its package, or its own name if it lies beside the packages."""
    return name.partition("/")[0].removesuffix(".py")


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
    """The file of a module of the package."""
    path = module.replace(".", "/").removeprefix("sknn").removeprefix("/")
    return (f"{path}/__init__.py" if (ROOT / path).is_dir() else f"{path}.py").removeprefix("/")


def imported_files(name):
    """The package's files that a file imports, anywhere in it."""
    modules = imported_modules(ast.walk(tree(name)))
    return {file_of(module) for module in modules if module.partition(".")[0] == "sknn"}


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


def test_every_file_belongs_to_a_layer():
    assert {layer_of(name) for name in files()} == set(LAYERS)


def test_the_design_page_describes_the_layers_in_their_order():
    rows = re.findall(r"^\| `([\w/]+)(?:\.py)?/?` \|", DESIGN.read_text(), re.MULTILINE)

    assert rows == LAYERS


@pytest.mark.parametrize("name", files())
def test_a_file_imports_only_from_its_own_layer_and_those_above_it(name):
    below = LAYERS[LAYERS.index(layer_of(name)) + 1 :]

    assert [imported for imported in imported_files(name) if layer_of(imported) in below] == []


def test_no_two_files_import_each_other():
    order = graphlib.TopologicalSorter({name: imported_files(name) - {name} for name in files()})

    assert set(order.static_order()) == set(files())  # raises CycleError if files import each other in a circle


@pytest.mark.parametrize("name", files())
def test_importing_a_file_needs_no_optional_package(name):
    packages = {module.partition(".")[0] for module in imported_modules(executed_on_import(tree(name)))}

    # Only `sknn serve` imports the service, when it runs.
    optional = SERVICE_PACKAGES if layer_of(name) == "serving" else set()
    assert packages - REQUIRED_PACKAGES - optional - set(sys.stdlib_module_names) <= {"sknn"}


@pytest.mark.parametrize("name", files())
def test_a_file_says_in_its_first_line_what_it_is_for(name):
    first_line = (ROOT / name).read_text().partition("\n")[0]

    assert re.fullmatch(r'"""[A-Z_`].*[.:?](""")?', first_line)


@pytest.mark.parametrize(("name", "function"), [pytest.param(*pair, id=pair[0]) for pair in public_functions()])
def test_a_public_function_has_a_numpydoc_docstring(name, function):
    docstring = inspect.cleandoc(function.__doc__)
    summary, sections = docstring.partition("\n")[0], SECTION.findall(docstring)

    assert summary.endswith(".")
    if inspect.isclass(function):
        assert {"Parameters", "Attributes"} & set(sections)
    else:
        signature = inspect.signature(function)
        assert list(signature.parameters) == ["self"] or "Parameters" in sections
        assert signature.return_annotation is None or "Returns" in sections
