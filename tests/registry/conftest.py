"""Fixtures of the registry's tests: a store and an exported model, made once for each file."""

import uuid

import pytest

from tests.registry.models import MLFLOW_WARNINGS, exported, new_store


@pytest.hookimpl(tryfirst=True)  # before pytest selects by markers
def pytest_collection_modifyitems(items):
    for item in items:
        if "registry" in item.path.parts:
            if "store" in item.fixturenames:  # MLflow takes seconds to make one
                item.add_marker(pytest.mark.service)
            for warning in MLFLOW_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(scope="package")
def store(tmp_path_factory):
    return new_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="package")
def model_files(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("exported"))


@pytest.fixture
def name():
    """A name that no other test uses."""
    return f"model-{uuid.uuid4().hex[:8]}"
