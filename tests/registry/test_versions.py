"""Finding a version by its number or an alias, and the errors if there is none."""

import dataclasses

import pytest

from sknn.registry import find_version, register


@pytest.fixture
def versions(store, name, model_files):
    """Two versions; the first is the champion."""
    import mlflow

    for _ in range(2):
        register(model_files[0], name, data_digest="d", tracking_uri=store)
    client = mlflow.MlflowClient(store, store)
    client.set_registered_model_alias(name, "champion", "1")
    return client


def test_an_alias_is_followed_when_it_moves(store, name, versions):
    first = find_version(f"models:/{name}@champion", tracking_uri=store)
    versions.set_registered_model_alias(name, "champion", "2")
    second = find_version(f"models:/{name}@champion", tracking_uri=store)

    assert (first.version, second.version) == (1, 2)
    assert (first.uri, second.uri) == (f"models:/{name}/1", f"models:/{name}/2")
    assert first.alias == second.alias == "champion"


def test_a_version_cannot_be_changed_and_can_be_a_key(store, name, versions):
    version = find_version(f"models:/{name}/1", tracking_uri=store)

    assert {version: 1}[find_version(f"models:/{name}/1", tracking_uri=store)] == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        version.version = 2
    with pytest.raises(TypeError):
        version.tags["sknn.data_digest"] = "another"


def test_the_current_registry_is_the_default(store, name, versions, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)

    assert find_version(f"models:/{name}/2").version == 2


@pytest.mark.parametrize("end", ["@challenger", "/7"])
def test_an_unknown_alias_or_version_is_an_error_that_lists_the_known_ones(end, store, name, versions):
    with pytest.raises(ValueError) as error:
        find_version(f"models:/{name}{end}", tracking_uri=store)

    assert str(error.value) == (
        f"'models:/{name}{end}' does not exist: the model '{name}' has the versions [1, 2] and the aliases "
        "['champion']; give one of them."
    )


def test_an_unknown_name_is_an_error(store):
    with pytest.raises(ValueError) as error:
        find_version("models:/unheard@champion", tracking_uri=store)

    assert str(error.value) == (
        "'models:/unheard@champion' does not exist: the registry has no model 'unheard'; register it with "
        "sknn.registry.register."
    )


@pytest.mark.parametrize("uri", ["churn", "models:/churn", "models:/churn@", "models:/churn/x", "models:/a@b/1", ""])
def test_another_form_of_uri_is_an_error(uri):
    with pytest.raises(ValueError, match="is not the URI of a registered model; give models:/NAME@ALIAS or"):
        find_version(uri)


def test_a_misspelt_file_is_an_error_and_is_not_created(tmp_path):
    with pytest.raises(
        ValueError, match=r"mlfow\.db' does not exist; give the right tracking URI, or set MLFLOW_TRACK"
    ):
        find_version("models:/churn@champion", tracking_uri=f"sqlite:///{tmp_path}/mlfow.db")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_kind_of_registry_is_an_error():
    with pytest.raises(ValueError, match=r"The registry 'foo://x' can't be opened: .*Supported URI schemes are"):
        find_version("models:/churn@champion", tracking_uri="foo://x")


def test_a_server_that_does_not_answer_is_a_connection_error(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    with pytest.raises(ConnectionError, match="'models:/churn@champion' can't be read: API request to http"):
        find_version("models:/churn@champion", tracking_uri="http://127.0.0.1:9")


def test_a_file_that_is_no_database_is_a_connection_error(tmp_path):
    (tmp_path / "mlflow.db").write_text("hello " * 1000)

    with pytest.raises(ConnectionError, match="file is not a database"):
        find_version("models:/churn@champion", tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
