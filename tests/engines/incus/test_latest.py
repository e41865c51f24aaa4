"""Answers that take long: whoever wants a new one gets it, and nobody who cannot wait does."""

import asyncio

import pytest

from ghostdesk.engines.incus.latest import Latest


class Question:
    """Each asking gets the next number once `let_go` is set."""

    def __init__(self) -> None:
        self.asked, self.let_go, self.now_s = 0, asyncio.Event(), 0.0
        self.let_go.set()

    async def __call__(self) -> int:
        self.asked += 1
        number = self.asked
        await self.let_go.wait()
        if number == 13:
            raise ValueError("13")
        return number

    def latest(self, within_s: float = 0.01) -> Latest[int]:
        return Latest(self, within_s=within_s, oldest_s=60.0, clock=lambda: self.now_s)


async def test_one_who_cannot_wait_gets_the_last_answer_and_one_who_can_a_new_one() -> None:
    question = Question()
    latest = question.latest()
    assert (await latest.soon()).value == 1  # there is none yet: it is waited for
    question.let_go.clear()
    question.now_s = 5.0
    answer = await latest.soon()
    assert (answer.value, answer.begun_s) == (1, 0.0)
    assert (await latest.soon()).value == 1 and question.asked == 2, "one question at a time"
    new = asyncio.create_task(latest.new())
    await asyncio.sleep(0)
    question.let_go.set()
    assert (await new).value == 3, "the one that was under way was begun before"
    await latest.stop()


async def test_an_old_answer_is_not_good_enough() -> None:
    question = Question()
    latest = question.latest()
    await latest.soon()
    question.let_go.clear()
    question.now_s = 61.0
    waiting = asyncio.create_task(latest.soon())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    question.let_go.set()
    assert (await waiting).value == 2
    await latest.stop()


async def test_a_failure_is_raised_to_those_who_wait_and_the_next_question_is_asked() -> None:
    question = Question()
    latest = question.latest(within_s=30.0)
    await latest.soon()
    question.asked = 12
    with pytest.raises(ValueError, match="13"):
        await latest.soon()
    assert (await latest.soon()).value == 14
    question.asked = 12
    question.let_go.clear()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await latest.new()
    question.let_go.set()  # nobody waits for this failure, and it is lost without a word
    assert (await latest.new()).value == 14
    await latest.stop()
    await latest.stop()
