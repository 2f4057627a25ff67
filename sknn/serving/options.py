"""What `sknn serve` can be told."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ServingOptions:
    """The settings of a service.

    Attributes
    ----------
    source : str
        The model: an .onnx file, a .sknn file, or ``models:/NAME@ALIAS``.
    host, port : str, int
        The address. Port 0 takes a free one.
    token : str or None
        What clients have to send; None if everyone is welcome.
    state : Path or None
        The file that keeps the monitor's counts over a restart; None to forget them.
    max_rows, max_bytes : int
        The largest request. 64 MiB are 100,000 rows of 60 numbers as JSON.
    max_requests : int
        Requests that are answered at the same time; further ones get 503 and may come again.
    timeout : float
        Seconds that a client may take to send a request, and a stop waits for the requests that have begun.
    window : float
        Seconds over which drift and live scores are computed.
    poll : float
        Seconds between two looks at the alias of a registry.
    n_threads : int
        Threads of one prediction. One leaves the other cores to other requests.
    """

    source: str
    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = None
    state: Path | None = None
    max_rows: int = 100_000
    max_bytes: int = 64 * 2**20
    max_requests: int = 256
    timeout: float = 30.0
    window: float = 3600.0
    poll: float = 10.0
    n_threads: int = 1
