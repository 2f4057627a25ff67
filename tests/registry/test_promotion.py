"""Promotion and rollback: the champion moves only to a better version, and back."""

import json
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sknn import NeuralClassifier, NeuralRegressor, OnnxPredictor, save
from sknn.export import to_onnx
from sknn.registry import find_version, promote, register, rollback
from sknn.registry.champion import CLAIM, move_champion
from tests.common import QUICK, TINY, quietly
from tests.registry.models import rows

HELD_OUT, HELD_OUT_Y = rows(200, seed=1)
DIGEST = "sha256:heldout"


@pytest.fixture(scope="package")
def graphs(tmp_path_factory):
    """A classifier that has learnt the wrong labels, one that has learnt the right ones, and a regressor."""
    folder = tmp_path_factory.mktemp("graphs")
    table, y = rows(300)
    models = {
        "useless": quietly(NeuralClassifier(**QUICK).fit, table, np.where(y == "yes", "no", "yes")),
        "good": quietly(NeuralClassifier(**QUICK).fit, table, y),
        "value": NeuralRegressor(**TINY).fit(table, table["age"]),
    }
    for name, model in models.items():
        to_onnx(model, table, path=folder / f"{name}.onnx")
    return folder


@pytest.fixture
def client(store):
    import mlflow

    return mlflow.MlflowClient(store, store)


@pytest.fixture
def add(store, name, graphs):
    """Register a graph, and return its version."""

    def register_graph(graph, data_digest=DIGEST):
        return register(graphs / f"{graph}.onnx", name, data_digest=data_digest, tracking_uri=store).version

    return register_graph


@pytest.fixture
def challenge(store, name):
    def compare(version, X=HELD_OUT, y=HELD_OUT_Y, **settings):
        settings = {"data_digest": DIGEST} | settings
        return promote(name, X, y, challenger=version, tracking_uri=store, **settings)

    return compare


@pytest.fixture
def champion(store, name, client):
    def version():
        return int(client.get_registered_model(name).aliases.get("champion", 0))

    return version


def decisions(client, name, version):
    tags = client.get_model_version(name, str(version)).tags
    return [json.loads(tags[key]) for key in sorted(tags) if key.startswith("sknn.decision.")]


def test_a_better_version_becomes_the_champion(store, name, client, add, challenge, champion, graphs):
    for graph in ("useless", "good"):
        add(graph)
    client.set_registered_model_alias(name, "champion", "1")

    decision = challenge(2)

    p = OnnxPredictor(graphs / "good.onnx").predict_proba(HELD_OUT)
    expected = -np.log(p[np.arange(200), (HELD_OUT_Y == "yes").astype(int)]).mean()
    assert decision.promoted
    assert (decision.champion, decision.challenger, decision.metric, decision.n_rows) == (1, 2, "log_loss", 200)
    assert decision.challenger_value == pytest.approx(expected, abs=1e-6)
    assert champion() == 2
    assert find_version(f"models:/{name}@previous", tracking_uri=store).version == 1
    assert decision.sentence == "Version 2 is better than version 1 at level 0.05, so it is the champion now."


def test_every_decision_is_recorded_with_its_figures(name, client, add, challenge):
    add("good")
    decision = challenge(1)

    (record,) = decisions(client, name, 1)
    assert record["promoted"] is True
    assert record["comparison"]["p_value"] == decision.comparison.p_value
    assert (record["data_digest"], record["alpha"], record["n_rows"]) == (DIGEST, 0.05, 200)


@pytest.mark.parametrize("metric", ["log_loss", "accuracy"])
def test_a_version_that_is_not_better_is_not_promoted(metric, name, client, add, challenge, champion):
    for graph in ("good", "good", "useless"):
        add(graph)
    client.set_registered_model_alias(name, "champion", "1")

    results = [challenge(version, metric=metric) for version in (2, 3)]

    assert [result.promoted for result in results] == [False, False]
    assert champion() == 1
    assert [record["promoted"] for record in decisions(client, name, 3)] == [False]
    assert (
        results[1].sentence
        == "Version 3 is not shown to be better than version 1 at level 0.05, so the champion stays."
    )


def test_the_first_champion_has_to_beat_a_constant(add, challenge, champion):
    add("useless")
    add("good")

    assert not challenge(1).promoted
    assert champion() == 0
    decision = challenge(2)
    assert decision.promoted
    assert champion() == 2
    assert decision.sentence == (
        "Version 2 is better than the baseline (the shares of the classes) at level 0.05, so it is the champion now."
    )


def test_a_dry_run_leaves_the_registry_as_it_is(name, client, add, challenge, champion):
    add("good")
    decision = challenge(1, dry_run=True)

    assert decision.promoted
    assert champion() == 0
    assert decisions(client, name, 1) == []
    assert "would become the champion" in decision.sentence


def test_an_estimator_without_a_graph_is_compared_too(store, name, client, add, challenge):
    add("good")
    folder = Path(client.get_model_version_download_uri(name, "1").removeprefix("file://"))
    (folder / "model.onnx").unlink()
    save(quietly(NeuralClassifier(**QUICK).fit, *rows(300)), folder / "model.sknn")

    assert challenge(1).promoted


@pytest.mark.parametrize(
    ("registered", "message"),
    [
        (None, "has no digest of held-out rows, so it may have been trained on these \\(digest sha256:heldout\\)"),
        (
            "sha256:other",
            "rows have the digest sha256:heldout, and .*/1 was registered with sha256:other; give the file",
        ),
    ],
)
def test_rows_that_were_not_held_out_are_refused(registered, message, name, client, add, challenge, champion):
    add("good", data_digest=registered or DIGEST)
    if registered is None:
        client.delete_model_version_tag(name, "1", "sknn.data_digest")

    with pytest.raises(ValueError, match=message):
        challenge(1)
    assert champion() == 0


def test_a_champion_of_other_rows_is_noted(name, client, add, challenge):
    add("useless", data_digest="sha256:other")
    add("good")
    client.set_registered_model_alias(name, "champion", "1")

    assert "Note: version 1 was registered with other held-out rows" in str(challenge(2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"y": HELD_OUT_Y[:10], "X": HELD_OUT[:10]},
            r"y has shape \(10,\); a comparison needs one target and at least 20",
        ),
        ({"y": pd.Series(HELD_OUT_Y).where(HELD_OUT.index != 7)}, "The target of row 7 is missing"),
        ({"y": np.where(HELD_OUT_Y == "no", 0, 1)}, r"The target holds \[0, 1\], which models:/.*/1 does not know"),
        ({"X": HELD_OUT[["age"]]}, r"models:/.*/1 can't predict the rows: .*lacks columns .*\['postcode'\]"),
        ({"metric": "squared_error"}, r"does not suit a classifier; give one of \['log_loss', 'accuracy'\]"),
        ({"alpha": 5}, "alpha=5 has to be between 0 and 0.5"),
    ],
)
def test_wrong_rows_and_settings_are_errors(settings, message, add, challenge, champion):
    add("good")

    with pytest.raises(ValueError, match=message):
        challenge(1, **settings)
    assert champion() == 0


def test_a_champion_is_no_challenger(add, challenge):
    add("good")
    challenge(1)

    with pytest.raises(ValueError, match="is the champion already; give another version as challenger"):
        challenge(1)


def test_a_regressor_is_compared_by_its_squared_error(add, challenge):
    add("value")
    decision = challenge(1, y=HELD_OUT["age"])

    assert decision.metric == "squared_error"
    assert decision.champion_value == pytest.approx(np.var(HELD_OUT["age"]))


def test_rollbacks_in_a_row_go_back_one_champion_each(store, name, client, add, champion):
    for version in (1, 2, 3):
        add("good")
        move_champion(client, name, expected=version - 1 or None, version=version)

    assert rollback(name, tracking_uri=store).version == 2
    assert find_version(f"models:/{name}@previous", tracking_uri=store).version == 1
    assert rollback(name, tracking_uri=store).version == 1
    with pytest.raises(ValueError, match="has no former champion to go back to; its champion is version 1"):
        rollback(name, tracking_uri=store)
    assert champion() == 1
    assert set(client.get_registered_model(name).aliases) == {"champion"}


def test_a_promotion_after_a_rollback_is_rolled_back_to_the_champion_before_it(store, name, client, add, champion):
    for _ in range(3):
        add("good")
    for expected, version in ((None, 1), (1, 2)):
        move_champion(client, name, expected=expected, version=version)
    rollback(name, tracking_uri=store)
    move_champion(client, name, expected=1, version=3)

    assert rollback(name, tracking_uri=store).version == 1


def test_a_rollback_passes_over_deleted_versions(store, name, client, add):
    for version in (1, 2, 3):
        add("good")
        move_champion(client, name, expected=version - 1 or None, version=version)
    client.delete_registered_model_alias(name, "previous")
    client.delete_model_version(name, "2")

    assert rollback(name, tracking_uri=store).version == 1


def test_a_rollback_of_an_unknown_model_is_an_error(store):
    with pytest.raises(ValueError, match=r"'unheard' can't be rolled back: .*not found"):
        rollback("unheard", tracking_uri=store)


def test_a_champion_that_has_changed_meanwhile_is_not_replaced(name, client, add, champion):
    for _ in range(3):
        add("good")
    client.set_registered_model_alias(name, "champion", "2")

    with pytest.raises(RuntimeError) as error:
        move_champion(client, name, expected=1, version=3)
    assert str(error.value) == (
        f"The champion of '{name}' is version 2 now, and was version 1 when the comparison began; compare again."
    )
    assert champion() == 2


def test_of_two_moves_at_once_at_most_one_happens(name, client, add, champion):
    for _ in range(5):
        add("good")
    client.set_registered_model_alias(name, "champion", "1")
    barrier, moved, errors = threading.Barrier(4), [], []

    def move(version):
        barrier.wait()
        try:
            move_champion(client, name, expected=1, version=version)
            moved.append(version)
        except RuntimeError as error:
            errors.append(error)

    threads = [threading.Thread(target=move, args=(version,)) for version in (2, 3, 4, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(moved) <= 1
    assert len(moved) + len(errors) == 4
    assert champion() == (moved or [1])[0]
    assert not [tag for tag in client.get_registered_model(name).tags if tag.startswith(CLAIM)]


def test_the_claim_of_a_killed_process_expires(name, client, add, champion):
    add("good")
    client.set_registered_model_tag(name, f"{CLAIM}killed", "1000000000.0")
    move_champion(client, name, expected=None, version=1)

    assert champion() == 1
