"""The token: which headers carry it, and which routes need it."""

import base64

import pytest

from sknn.serving.authorization import read_token
from sknn.serving.options import ServingOptions
from sknn.serving.service import PredictionService
from tests.serving.common import RECORD, client_of

TOKEN = "correct-horse"


@pytest.fixture
def client(churn_file):
    return client_of(PredictionService(ServingOptions(str(churn_file), token=TOKEN)))


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}", f"bearer  {TOKEN} ", basic("anyone", TOKEN), basic("", TOKEN)])
def test_the_token_opens_every_route(client, header):
    headers = {"Authorization": header}
    assert client.post("/predict", json=[RECORD], headers=headers).status_code == 200
    for route in (
        "/",
        "/page/page.js",
        "/docs",
        "/openapi.json",
        "/model",
        "/monitor",
        "/metrics",
        "/v2",
        "/v2/models/churn",
    ):
        assert client.get(route, headers=headers).status_code == 200, route


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        f"Token {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}x",
        "Basic !!",
        basic(TOKEN, ""),
        "Bearer \xe9",
    ],
)
def test_without_the_token_only_health_answers(client, header):
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    for route in (
        "/",
        "/page/page.js",
        "/docs",
        "/openapi.json",
        "/model",
        "/monitor",
        "/metrics",
        "/v2",
        "/v2/models/churn",
        "/x",
    ):
        response = client.get(route, headers=headers)
        assert response.status_code == 401, route
        assert "Authorization: Bearer TOKEN" in response.json()["error"]
    response = client.post("/predict", json=[RECORD], headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert client.post("/feedback", json=[], headers=headers).status_code == 401
    for route in ("/v2/health/live", "/v2/health/ready"):
        assert client.get(route, headers=headers).status_code == 200


def test_a_token_is_read_without_the_white_space_around_it(tmp_path):
    path = tmp_path / "token"
    path.write_text(f"\n {TOKEN}\n")
    assert read_token(path) == TOKEN


@pytest.mark.parametrize("content", ["", "  \n", "short", "two words here"])
def test_a_weak_token_is_refused(tmp_path, content):
    path = tmp_path / "token"
    path.write_text(content)
    with pytest.raises(ValueError, match="has to hold one word of at least 8 characters"):
        read_token(path)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_token(tmp_path / "token")
