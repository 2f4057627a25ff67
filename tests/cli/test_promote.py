"""`sknn promote`: what it prints, and its exit codes."""

import re

import pytest

from sknn.registry import file_digest, register
from tests.cli.common import sknn_command
from tests.common import python
from tests.registry.models import MLFLOW_WARNINGS, exported, new_store, rows

pytestmark = [pytest.mark.service, *(pytest.mark.filterwarnings(warning) for warning in MLFLOW_WARNINGS)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store with two versions of the same model, and their held-out rows; one row lacks its target."""
    folder = tmp_path_factory.mktemp("promote")
    table, y = rows(100, seed=1)
    table.assign(left=[None, *y[1:]]).to_csv(folder / "heldout.csv", index=False)
    table.assign(left=y).to_csv(folder / "other.csv", index=False)
    files = exported(folder, max_iter=100, learning_rate_init=0.05)
    for _ in range(2):
        register(files[0], "churn", data_digest=file_digest(folder / "heldout.csv"), tracking_uri=new_store(folder))
    return folder


def promote(folder, *arguments):
    return python("-m", "sknn", "promote", "churn", "--tracking-uri", "sqlite:///mlflow.db", *arguments, cwd=folder)


def test_promotion_and_rollback(folder):
    data = ("--data", "heldout.csv")  # in which the postcodes would be numbers, if the model did not know better
    first = promote(folder, "--challenger", 1, *data)
    again = promote(folder, "--challenger", 2, *data)
    back = promote(folder, "--rollback")

    assert (first.returncode, first.stderr) == (0, "")
    assert re.match(r"churn\n  log_loss +99 rows, sha256:", first.stdout)
    assert first.stdout.endswith(
        "Version 1 is better than the baseline (the shares of the classes) at level 0.05, so it is the champion now.\n"
    )
    assert (again.returncode, again.stderr) == (3, "")
    assert re.search(r"improvement +\+0\.0000  from \+0\.0000 to \+0\.0000 \(90 % interval\)", again.stdout)
    assert "Version 2 is not shown to be better than version 1" in again.stdout
    assert (back.returncode, back.stdout) == (2, "")
    assert back.stderr == (
        "sknn promote: error: 'churn' has no former champion to go back to; its champion is version 1.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--challenger", 1], "the following arguments are required without --rollback: --data"),
        (["--rollback", "--dry-run"], "--rollback goes without --challenger, --data and --dry-run"),
        (
            ["--challenger", 1, "--data", "heldout.csv", "--target", "gone"],
            "heldout.csv has no column 'gone'. It has age, postcode, left",
        ),
        (["--challenger", 9, "--data", "heldout.csv"], "has the versions [1, 2]"),
        (["--challenger", 1, "--data", "other.csv"], "the digest sha256:"),
    ],
)
def test_errors(arguments, message, folder):
    done = promote(folder, *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_help_shows_examples_and_exit_codes(tmp_path):
    done = sknn_command("promote", "--help", folder=tmp_path)

    assert "sknn promote churn --rollback" in done.stdout
    assert "3 not shown to be better" in done.stdout
