"""MLflow with a database for the tests: experiments, their contents, and warnings of MLflow to ignore."""

import contextlib
import functools
import os
import tempfile
from pathlib import Path

os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}

MLFLOW_WARNINGS = [
    "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning",  # from sqlalchemy, in MLflow's queries
    "ignore:Starting with pandas version 4.0 all arguments of:DeprecationWarning",  # from MLflow's digest of a table
    "ignore:.*Any type hint is inferred as AnyType:UserWarning",  # from importing MLflow
]


@functools.cache
def database():
    """Create a database once, because it takes seconds; it is removed at the end of the process."""
    import mlflow

    folder = tempfile.TemporaryDirectory()
    mlflow.set_tracking_uri(f"sqlite:///{folder.name}/mlflow.db")
    with contextlib.chdir(folder.name):  # the default location of files
        mlflow.search_experiments()
    return folder


@contextlib.contextmanager
def new_experiment(name):
    """Create an experiment, make it MLflow's current one in this context, and yield its id."""
    import mlflow

    folder = Path(database().name)
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    experiment = mlflow.create_experiment(name, artifact_location=(folder / str(abs(hash(name)))).as_uri())
    mlflow.set_experiment(experiment_id=experiment)
    try:
        yield experiment
    finally:
        while mlflow.active_run():
            mlflow.end_run()
        mlflow.set_tracking_uri(None)


def runs_of(experiment):
    """Return the experiment's runs, the oldest first."""
    import mlflow

    runs = mlflow.MlflowClient().search_runs([experiment], order_by=["start_time"], max_results=1000)
    return [mlflow.get_run(run.info.run_id) for run in runs]


def curve(run, name):
    """Return the steps and values of a metric."""
    import mlflow

    points = mlflow.MlflowClient().get_metric_history(run.info.run_id, name)
    return [point.step for point in points], [point.value for point in points]


def models_of(run):
    """Return the URIs of the models that a run has logged."""
    return [f"models:/{output.model_id}" for output in run.outputs.model_outputs] if run.outputs else []


def artifacts_of(run):
    import mlflow

    return [file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id)]
