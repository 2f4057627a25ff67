"""The service without HTTP: the model in service, which can be changed while requests are answered."""

import logging
import threading

from sknn.serving.deployment import Deployment, deploy
from sknn.serving.metrics import Metrics
from sknn.serving.options import ServingOptions
from sknn.serving.sources import find_version_number

log = logging.getLogger("sknn.serving")


class PredictionService:
    """A model in service.

    Parameters
    ----------
    options : ServingOptions

    Attributes
    ----------
    deployment : Deployment
        The present model.
    metrics : Metrics
    """

    def __init__(self, options: ServingOptions) -> None:
        self.options = options
        self.deployment = deploy(options)
        self.metrics = Metrics(lambda: self.deployment)
        self._reload_lock = threading.Lock()
        self._save_error: str | None = None
        self._save_lock = threading.Lock()
        self._restore(self.deployment)

    def reload(self) -> bool:
        """Load the model again, and put it into service if it is another one and passes its self-check.

        Returns
        -------
        bool
            Whether there is a new model. After an error the old one stays, and the metrics and the log say so.
        """
        with self._reload_lock:
            try:
                new = deploy(self.options)
            except Exception as error:  # of the registry, the file or the model; whatever it is, the old model stays
                self.metrics.reload_failed.set(1)
                log.error("reload refused", extra={"reason": f"{type(error).__name__}: {error}"})
                return False
            self.metrics.reload_failed.set(0)
            if new.model.digest == self.deployment.model.digest and new.model.version == self.deployment.model.version:
                return False
            self.deployment = new
        log.info("new model", extra={"model": new.model.name, "version": new.model.version})
        return True

    def reload_if_alias_moved(self) -> bool:
        """Load the model again if the registry has another version under the alias now."""
        try:
            version = find_version_number(self.options.source)
        except Exception as error:  # of MLflow or its database; the next call tries again
            log.warning("registry not reached", extra={"reason": f"{type(error).__name__}: {error}"})
            return False
        return version not in (None, self.deployment.model.version) and self.reload()

    def save(self) -> None:
        """Write the monitor's counts to the file of the options. After an error the next call tries again."""
        if self.options.state is None:
            return
        with self._save_lock:  # the last save at a stop may meet a periodic one
            try:
                self.deployment.monitor.save(self.options.state)
                self._save_error = None
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                if reason != self._save_error:  # once, and not every few seconds
                    log.error("counts not saved", extra={"reason": reason})
                self._save_error = reason

    def _restore(self, deployment: Deployment) -> None:
        """Read the counts of an earlier process. A damaged file is no reason not to serve."""
        if self.options.state is not None:
            try:
                if deployment.monitor.restore(self.options.state):
                    log.info("counts restored")
            except Exception as error:  # a damaged file may fail in any way
                log.error("counts not restored", extra={"reason": f"{type(error).__name__}: {error}"})
