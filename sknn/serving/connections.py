"""Limits on what a client may do with a connection. uvicorn has none."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 256 * 1024  # bytes of the request line and the headers


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits on the client of a connection.

    The connection is closed if no complete head of a request comes in so many seconds, if the head is too long, and if
    the client takes nothing of a response for so many seconds.
    """

    _head_timer: asyncio.TimerHandle | None = None
    _send_timer: asyncio.TimerHandle | None = None
    _in_head = False
    _n_head = 0

    def __init__(self, *arguments: Any, seconds: float, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._seconds = seconds

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._n_head = self._n_head + len(data) if self._in_head else 0
        if self._n_head > MAX_HEAD and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def on_message_begin(self) -> None:
        self._in_head = True
        self._wait_for_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._n_head = 0
        _cancel(self._head_timer)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            self._wait_for_head()  # also if the rest of a body that was refused still drips in

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait_for_reader(before=None)

    def resume_writing(self) -> None:
        _cancel(self._send_timer)
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._head_timer)
        _cancel(self._send_timer)
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        _cancel(self._head_timer)
        self._head_timer = self.loop.call_later(self._seconds, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self.cycle is None or self.cycle.response_complete:  # else a request before this one is being answered
            self.transport.close()

    def _wait_for_reader(self, before: int | None) -> None:
        waiting = self.transport.get_write_buffer_size()
        if waiting == before:
            self.transport.abort()
        else:
            self._send_timer = self.loop.call_later(self._seconds, self._wait_for_reader, waiting)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
