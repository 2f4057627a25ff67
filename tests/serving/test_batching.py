"""Requests that arrive together are predicted together, each gets its own answer, and a bad one harms only itself."""

import asyncio

import numpy as np
import pytest

from sknn.serving.batching import MAX_ROWS, Batcher
from sknn.serving.errors import RequestError
from sknn.serving.served_model import Predictions


class Doubler:
    """Doubles the column x, refuses negative numbers, and remembers the sizes of its runs."""

    def __init__(self):
        self.sizes = []

    def __call__(self, columns):
        x = columns["x"]
        self.sizes.append(len(x))
        if (x < 0).any():
            raise RequestError(422, "negative", "x", int(np.argmax(x < 0)))
        return Predictions(2 * x, np.stack([x, -x], axis=1), None, x / 10, {"raw": x})


def ask(*requests):
    """Send requests at the same time; return their answers, or errors, and the sizes of the runs."""
    doubler = Doubler()

    async def main():
        batcher = Batcher(doubler)
        columns = [{"x": np.array(request, dtype=float)} for request in requests]
        return await asyncio.gather(*map(batcher.predict, columns), return_exceptions=True)

    return asyncio.run(main()), doubler.sizes


def test_requests_that_arrive_together_are_one_run():
    answers, sizes = ask([1], [2, 3], [4])
    assert sizes == [4]
    assert [answer.values.tolist() for answer in answers] == [[2], [4, 6], [8]]
    assert answers[1].probabilities.tolist() == [[2, -2], [3, -3]]
    assert answers[1].spread.tolist() == [0.2, 0.3]
    assert answers[1].members is None


def test_a_request_alone_is_a_run_of_its_own():
    answers, sizes = ask([1])
    assert (answers[0].values.tolist(), sizes) == ([2], [1])


def test_requests_that_come_later_are_another_run():
    doubler = Doubler()

    async def main():
        batcher = Batcher(doubler)
        return [(await batcher.predict({"x": np.array([float(x)])})).values.tolist() for x in range(3)]

    assert asyncio.run(main()) == [[0], [2], [4]]
    assert doubler.sizes == [1, 1, 1]


def test_a_bad_request_is_refused_with_its_own_row_and_the_others_are_answered():
    answers, _ = ask([1, 2], [3, -1], [4])
    assert [answers[0].values.tolist(), answers[2].values.tolist()] == [[2, 4], [8]]
    assert isinstance(answers[1], RequestError)
    assert answers[1].row == 1


@pytest.mark.parametrize("sizes", [[100, 100, 100, 100], [MAX_ROWS + 1, 1], [1, MAX_ROWS], [MAX_ROWS], [1] * 600])
def test_a_run_has_a_limit_and_everyone_is_answered(sizes):
    answers, runs = ask(*[[float(j)] * size for j, size in enumerate(sizes)])
    assert [len(answer.values) for answer in answers] == sizes
    assert all((answer.values == 2 * j).all() for j, answer in enumerate(answers))
    assert sum(runs) == sum(sizes)
    assert all(run <= max(MAX_ROWS, max(sizes)) for run in runs)


def test_a_client_that_leaves_does_not_hold_up_others():
    doubler = Doubler()

    async def main():
        batcher = Batcher(doubler)
        first, second = (asyncio.create_task(batcher.predict({"x": np.array([x])})) for x in (1.0, 2.0))
        await asyncio.sleep(0)
        first.cancel()
        return (await second).values.tolist()

    assert asyncio.run(main()) == [4]
