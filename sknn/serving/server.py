"""The application on uvicorn, with what goes on beside the requests."""

import asyncio
import contextlib
import functools
import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import uvicorn

from sknn.serving.app import create_app
from sknn.serving.connections import LimitedProtocol
from sknn.serving.options import ServingOptions
from sknn.serving.service import PredictionService

SAVE_SECONDS = 5.0  # a process that is killed loses no more of its counts


def serve(options: ServingOptions, announce: Callable[[str, PredictionService], None]) -> None:
    """Serve a model until SIGINT or SIGTERM, and finish the requests that have begun.

    Parameters
    ----------
    options : ServingOptions
    announce : callable
        Called with the address and the service when requests are taken.

    Raises
    ------
    ValueError, ImportError
        If the model can't be loaded; see `deploy`.
    OSError
        If the model can't be read, or the port is taken.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it would end the process while the model is loaded
    service = PredictionService(options)
    with _listen(options.host, options.port) as listener:
        address = _address(listener)
        config = uvicorn.Config(
            create_app(service, _lifespan(service, lambda: announce(address, service))),
            http=functools.partial(LimitedProtocol, seconds=options.timeout),  # type: ignore[arg-type]
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=max(1, round(options.timeout)),
        )
        gc.collect()
        gc.freeze()  # what is loaded stays for good, and need not be looked through while requests are answered
        # uvicorn stops at SIGTERM, and then raises it again. That is no error here.
        signal.signal(signal.SIGTERM, lambda *_: None)
        uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except OSError as error:
        raise OSError(
            f"{host}:{port} can't be used: {error.strerror or error}; give another --host or --port"
        ) from None


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _lifespan(service: PredictionService, announce: Callable[[], None]) -> Any:
    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        reloads = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloads.set)
        tasks = [
            asyncio.create_task(_every(SAVE_SECONDS, service.save)),
            asyncio.create_task(_every(service.options.poll, service.reload_if_alias_moved)),
            asyncio.create_task(_reload_at(reloads, service)),
        ]
        announce()
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        service.save()

    return lifespan


async def _every(seconds: float, function: Callable[[], Any]) -> None:
    """Call a function in a thread again and again."""
    while True:
        await asyncio.sleep(seconds)
        await asyncio.to_thread(function)


async def _reload_at(event: asyncio.Event, service: PredictionService) -> None:
    """Load the model again whenever the event is set."""
    while True:
        await event.wait()
        event.clear()
        await asyncio.to_thread(service.reload)
