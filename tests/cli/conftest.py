"""A folder with a table and its models, made by the commands themselves."""

from types import SimpleNamespace

import pytest

from tests.cli.common import CUSTOMERS, QUICK, sknn_command


@pytest.fixture(scope="session")
def customers(tmp_path_factory):
    """Return a folder with t.csv (3 rows lack their target), t.parquet, m.sknn and m.onnx; and what fit printed."""
    folder = tmp_path_factory.mktemp("customers")
    table = CUSTOMERS.copy()
    table.loc[:2, "churn"] = None
    table.to_csv(folder / "t.csv", index=False)
    table.to_parquet(folder / "t.parquet")
    printed = _run("fit", "t.csv", "--target", "churn", "-o", "m.sknn", *QUICK, folder=folder)
    _run("export", "m.sknn", "--to", "onnx", "--sample", "t.csv", folder=folder)
    return SimpleNamespace(folder=folder, printed=printed)


def _run(*arguments, folder):
    done = sknn_command(*arguments, folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
