"""The pipeline of examples/mlops, end to end: from nothing, again, with a change, promotion and rollback."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from sknn.registry import download, file_digest, find_version
from tests.common import printed, python
from tests.registry.models import MLFLOW_WARNINGS

ROOT = Path(__file__).parent.parent
RUN = ROOT / "examples" / "mlops" / "run.py"
STAGES = ["prepare", "split", "train", "evaluate", "export", "register"]
pytestmark = [pytest.mark.service, *(pytest.mark.filterwarnings(warning) for warning in MLFLOW_WARNINGS)]


def stages_of(output):
    """Return the stages that a run of the pipeline has executed."""
    return re.findall(r"Running stage '(\w+)'", output)


def dvc(folder, *arguments):
    return printed("-m", "dvc", *arguments, cwd=folder, env=os.environ | {"DVC_NO_ANALYTICS": "1"})


def promote(folder, *arguments):
    done = python("-m", "sknn", "promote", "tumour", "--tracking-uri", "sqlite:///mlflow.db", *arguments, cwd=folder)
    return done.returncode, done.stdout


def git(folder, *arguments):
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


def test_the_pipeline_from_nothing_to_a_rollback(tmp_path):
    folder = tmp_path / "mlops"
    store = f"sqlite:///{folder}/mlflow.db"
    held_out = ("--data", "data/heldout.parquet")

    assert stages_of(printed(RUN, folder)) == STAGES
    assert promote(folder, "--challenger", 1, *held_out)[0] == 0
    assert stages_of(printed(RUN, folder)) == []

    parameters = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(parameters.replace("max_iter: 3 ", "max_iter: 40 "))
    assert stages_of(printed(RUN, folder)) == STAGES[STAGES.index("train") :]
    assert "up to date" in dvc(folder, "status")
    assert "in sync" in dvc(folder, "status", "--cloud")
    assert git(folder, "status", "--short") == ""

    code, output = promote(folder, "--challenger", 2, *held_out)
    assert (code, output.splitlines()[-1]) == (
        0,
        "Version 2 is better than version 1 at level 0.05, so it is the champion now.",
    )
    check_registry(folder, store, tmp_path / "downloaded")
    assert promote(folder, "--rollback") == (0, "Version 1 is the champion of tumour again.\n")
    assert find_version("models:/tumour@champion", tracking_uri=store).version == 1
    check_the_code_of_the_page(folder)

    with open(folder / "evaluate.py", "a") as file:
        file.write("# The metrics are the same.\n")
    assert stages_of(printed(RUN, folder)) == ["evaluate"]
    check_that_git_and_dvc_restore_the_first_version(folder, store)


def check_registry(folder, store, downloaded):
    """Check that the champion is the pipeline's model, with its data, metrics and run."""
    import mlflow

    champion = find_version("models:/tumour@champion", tracking_uri=store)
    metrics = json.loads((folder / "metrics" / "validation.json").read_text())
    assert champion.version == 2
    assert champion.data_digest == file_digest(folder / "data" / "heldout.parquet")
    assert champion.training_digest == file_digest(folder / "data" / "train.parquet")
    assert float(champion.tags["sknn.metric.log_loss"]) == metrics["log_loss"]
    assert download(champion, downloaded).read_bytes() == (folder / "models" / "tumour.onnx").read_bytes()
    client = mlflow.MlflowClient(store, store)
    run = client.get_run(client.get_model_version("tumour", "2").run_id)
    assert run.data.params["max_iter"] == "40"
    assert run.data.metrics["validation_log_loss"] == metrics["log_loss"]


def check_the_code_of_the_page(folder):
    (code,) = re.findall(r"```py\n(.*?)```", (ROOT / "docs" / "mlops.md").read_text(), re.DOTALL)

    assert printed("-c", code + "print(path.name)", cwd=folder) == "model.onnx\n"


def check_that_git_and_dvc_restore_the_first_version(folder, store):
    git(folder, "checkout", "--quiet", "HEAD~2")
    dvc(folder, "checkout", "--quiet")

    assert file_digest(folder / "models" / "tumour.onnx") == find_version("models:/tumour/1", tracking_uri=store).digest
