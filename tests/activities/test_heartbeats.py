import asyncio
from itertools import count

import pytest
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from activities import interceptor


class Step(ActivityInboundInterceptor):
    """Stands where the activity would be; it ends when it is let."""

    def __init__(self) -> None:
        self.ends = asyncio.Event()

    async def execute_activity(self, _: ExecuteActivityInput) -> str:
        await self.ends.wait()
        return "done"


@pytest.fixture
def environment() -> ActivityEnvironment:
    return ActivityEnvironment()


async def result(environment: ActivityEnvironment, step: Step) -> object:
    around = interceptor.ActivityEnvironment().intercept_activity(step)
    async with asyncio.timeout(10):
        return await environment.run(around.execute_activity, ExecuteActivityInput(result, (), None, {}))


async def test_a_short_step_costs_no_heartbeat(environment):
    step, beats = Step(), list[str]()
    environment.on_heartbeat = lambda: beats.append("beat")
    asyncio.get_running_loop().call_later(0.05, step.ends.set)
    assert await result(environment, step) == "done"
    assert beats == []


async def test_a_long_step_says_again_and_again_that_it_goes_on(environment, monkeypatch):
    monkeypatch.setattr(interceptor, "HEARTBEAT_SECONDS", 0.01)
    step, beats = Step(), count(1)
    environment.on_heartbeat = lambda: step.ends.set() if next(beats) == 3 else None
    assert await result(environment, step) == "done"
