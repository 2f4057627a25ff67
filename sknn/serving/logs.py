"""The log as a JSON object on each line. It never holds the data of a request."""

import datetime
import json
import logging
import sys

STANDARD = set(logging.makeLogRecord({}).__dict__) | {"message", "taskName", "color_message"}


class JsonFormatter(logging.Formatter):
    """Formats a record with everything that was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds")
        facts = {name: value for name, value in vars(record).items() if name not in STANDARD}
        line = {"time": time, "level": record.levelname.lower(), "event": record.getMessage(), **facts}
        if record.exc_info:
            line["type"] = getattr(record.exc_info[0], "__name__", None)  # the text of an error may hold data
        return json.dumps(line, default=str)


def start_logging(level: str) -> None:
    """Write the log of the service, and of its HTTP server, to the standard error stream.

    Parameters
    ----------
    level : {'debug', 'info', 'warning', 'error'}
        "info" has a line for each request.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name in ("sknn.serving", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level.upper())
    logging.getLogger("uvicorn.access").disabled = True  # its lines hold the path and the query
