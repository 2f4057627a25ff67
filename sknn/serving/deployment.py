"""A model in service, with what the service has seen of it."""

from dataclasses import dataclass
from functools import cached_property

from sknn.serving.batching import Batcher
from sknn.serving.live_monitor import LiveMonitor
from sknn.serving.options import ServingOptions
from sknn.serving.recent_predictions import RecentPredictions
from sknn.serving.records import Columns
from sknn.serving.served_model import Predictions, ServedModel, load_served_model


@dataclass(frozen=True)
class Deployment:
    """A model, the counts of its rows, and its last predictions. A new model gets new ones.

    A request takes the deployment once, and keeps it to its end, while a new one may come.
    """

    model: ServedModel
    monitor: LiveMonitor
    recent: RecentPredictions

    @cached_property
    def batcher(self) -> Batcher:
        """Return the batcher of small requests."""
        return Batcher(self.predict)

    def predict(self, columns: Columns) -> Predictions:
        """Return the predictions for rows, and count both; see `ServedModel.predict` for the errors."""
        predictions = self.model.predict(columns)
        self.monitor.add(columns, predictions)
        return predictions


def deploy(options: ServingOptions) -> Deployment:
    """Load the model, and check it; see `load_served_model` for the errors."""
    model = load_served_model(options)
    return Deployment(model, LiveMonitor(model, options.window), RecentPredictions(model, options.window))
