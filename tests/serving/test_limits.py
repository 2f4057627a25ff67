"""Limits: too many requests, too many bytes, and a body that comes too slowly."""

import asyncio

import pytest

from sknn.serving.errors import RequestError
from sknn.serving.limits import Limits
from sknn.serving.options import ServingOptions

OPTIONS = ServingOptions("m.onnx", max_bytes=10, max_requests=2, timeout=0.2)


async def read_body(scope, receive, send):
    """An application that reads the whole body."""
    more = True
    while more:
        more = (await receive()).get("more_body", False)


def request(*chunks, path="/predict", headers=(), seconds=0.0, app=read_body, limits=None):
    """A request whose chunks come so many seconds apart."""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks[:-1]]
    messages.append({"type": "http.request", "body": chunks[-1], "more_body": False})

    async def receive():
        await asyncio.sleep(seconds)
        return messages.pop(0)

    scope = {"type": "http", "path": path, "headers": list(headers)}
    return (limits or Limits(app, OPTIONS))(scope, receive, None)


def refusal(*arguments, **settings):
    with pytest.raises(RequestError) as caught:
        asyncio.run(request(*arguments, **settings))
    return caught.value


def test_a_body_within_the_limit_passes():
    chunks = []

    async def keep(scope, receive, send):
        while (message := await receive())["more_body"]:
            chunks.append(message["body"])
        chunks.append(message["body"])

    asyncio.run(request(b"12345", b"67890", app=keep))
    assert chunks == [b"12345", b"67890"]


def test_an_announced_size_is_refused_before_it_is_sent():
    assert refusal(b"", headers=[(b"content-length", b"11")]).status == 413


def test_a_body_without_an_announced_size_is_counted():
    error = refusal(b"123456", b"123456")
    assert (error.status, error.headers) == (413, {"connection": "close"})
    assert "more than 10 bytes" in error.message


def test_the_time_is_that_of_the_whole_body():
    """Each chunk comes in time, and all of them do not."""
    error = refusal(*[b"1"] * 9, seconds=0.04)
    assert error.status == 408
    assert "within 0.2 seconds" in error.message


def test_too_many_requests_at_one_time_are_asked_to_come_again():
    async def main():
        opened = asyncio.Event()

        async def wait(scope, receive, send):
            await opened.wait()

        limits = Limits(wait, OPTIONS)
        running = [asyncio.create_task(request(b"", limits=limits)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(RequestError) as caught:
            await request(b"", limits=limits)
        health = asyncio.create_task(request(b"", path="/v2/health/live", limits=limits))
        opened.set()
        await asyncio.gather(*running, health)
        await request(b"", limits=limits)  # there is room again
        return caught.value

    error = asyncio.run(main())
    assert (error.status, error.headers) == (503, {"retry-after": "1"})


def test_a_request_that_fails_leaves_room_for_others():
    async def fail(scope, receive, send):
        raise KeyError

    async def main():
        limits = Limits(fail, OPTIONS)
        for _ in range(5):
            with pytest.raises(KeyError):
                await request(b"", limits=limits)

    asyncio.run(main())
