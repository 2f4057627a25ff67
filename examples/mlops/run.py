"""Run the pipeline in a folder of its own, a git and DVC repository: `python examples/mlops/run.py [FOLDER]`.

The first run makes the folder and runs all stages. Edit what is in it and run again: only the stages that depend on
what has changed run. The folder holds the code, the data, the models, DVC's cache and MLflow's database; FOLDER-remote
beside it is DVC's remote.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent
ENVIRONMENT = os.environ | {
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",  # so that the stages' `python` is this one
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


def main(folder):
    if not (folder / ".dvc").exists():
        create_repository(folder)
    dvc(folder, "repro")
    dvc(folder, "push", "--quiet")
    commit(folder, "Run the pipeline")
    dvc(folder, "metrics", "show")
    print_next_steps(folder)


def create_repository(folder):
    shutil.copytree(Path(__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    git(folder, "init", "--quiet")
    dvc(folder, "init", "--quiet")
    for name, value in {"core.analytics": "false", "core.check_update": "false", "core.autostage": "true"}.items():
        dvc(folder, "config", name, value)
    dvc(folder, "remote", "add", "--quiet", "--default", "local", f"../{folder.absolute().name}-remote")
    commit(folder, "Start")


def commit(folder, message):
    git(folder, "add", "--all")
    if git(folder, "diff", "--cached", "--quiet", check=False).returncode:
        author = ("-c", "user.name=pipeline", "-c", "user.email=pipeline@localhost")
        git(folder, *author, "commit", "--quiet", "--no-gpg-sign", "-m", message)


def git(folder, *arguments, check=True):
    return subprocess.run(["git", *arguments], cwd=folder, env=ENVIRONMENT, check=check)


def dvc(folder, *arguments):
    subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, env=ENVIRONMENT, check=True)


def print_next_steps(folder):
    version = json.loads((folder / "registered.json").read_text())["version"]
    sknn, dvc = (name if shutil.which(name) else BIN / name for name in ("sknn", "dvc"))
    print(f"""
Make this version the champion, if it is better:
  cd {folder}
  export MLFLOW_TRACKING_URI=sqlite:///mlflow.db
  {sknn} promote tumour --challenger {version} --data data/heldout.parquet
Then change params.yaml, run the pipeline again, and see what has changed:
  {dvc} metrics diff HEAD~1""")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo/mlops"))
