"""Fixtures of the service's tests: exported models of customers and of houses, made once."""

import numpy as np
import pytest

from sknn.serving.options import ServingOptions
from sknn.serving.service import PredictionService
from tests.serving.common import client_of, export_churn, export_price


@pytest.fixture(scope="package")
def churn_file(tmp_path_factory):
    """A classifier of a table with numbers, categories and missing values."""
    return export_churn(tmp_path_factory.mktemp("churn") / "churn.onnx")


@pytest.fixture(scope="package")
def price_file(tmp_path_factory):
    """A regressor that was fitted on an array without names."""
    return export_price(tmp_path_factory.mktemp("price") / "price.onnx")


@pytest.fixture
def churn(churn_file):
    """A service of the classifier."""
    return PredictionService(ServingOptions(str(churn_file), max_rows=100, max_bytes=100_000))


@pytest.fixture
def client(churn):
    """A client of the classifier's service, without a network between them."""
    return client_of(churn)


@pytest.fixture
def price_client(price_file):
    return client_of(PredictionService(ServingOptions(str(price_file))))


@pytest.fixture
def rng():
    return np.random.default_rng(0)
