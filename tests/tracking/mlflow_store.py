"""MLflow with a database of the tests' own: experiments, what is in them, and the warnings that come with MLflow."""

import contextlib
import functools
import os
import tempfile
from pathlib import Path

os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}

OWN_WARNINGS = [
    "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning",  # sqlalchemy, of MLflow's queries
    "ignore:Starting with pandas version 4.0 all arguments of:DeprecationWarning",  # of MLflow's digest of a table
    "ignore:.*Any type hint is inferred as AnyType:UserWarning",  # at MLflow's own import
]


@functools.cache
def database():
    """A database with its tables, whose making takes seconds; it goes when the process does."""
    import mlflow

    folder = tempfile.TemporaryDirectory()
    mlflow.set_tracking_uri(f"sqlite:///{folder.name}/mlflow.db")
    with contextlib.chdir(folder.name):  # where files go of which nothing is said
        mlflow.search_experiments()
    return folder


@contextlib.contextmanager
def new_experiment(name):
    """Make an experiment, MLflow's current one for the time being; give its id."""
    import mlflow

    folder = Path(database().name)
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    made = mlflow.create_experiment(name, artifact_location=(folder / str(abs(hash(name)))).as_uri())
    mlflow.set_experiment(experiment_id=made)
    try:
        yield made
    finally:
        while mlflow.active_run():
            mlflow.end_run()
        mlflow.set_tracking_uri(None)


def runs_of(experiment):
    """The experiment's runs, the oldest first."""
    import mlflow

    found = mlflow.MlflowClient().search_runs([experiment], order_by=["start_time"], max_results=1000)
    return [mlflow.get_run(run.info.run_id) for run in found]


def curve(run, name):
    """Steps and values of a metric."""
    import mlflow

    points = mlflow.MlflowClient().get_metric_history(run.info.run_id, name)
    return [point.step for point in points], [point.value for point in points]


def models_of(run):
    """Addresses of the models that a run has logged."""
    return [f"models:/{output.model_id}" for output in run.outputs.model_outputs] if run.outputs else []


def artifacts_of(run):
    import mlflow

    return [file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id)]
