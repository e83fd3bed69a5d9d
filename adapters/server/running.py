"""Calls of the application, which blocks, from an event loop, which must not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from threading import Event, Lock
from typing import Final, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread
from attrs import evolve, frozen

from tenantkb.adapters.configuration.settings import ServeSettings
from tenantkb.adapters.server.limits import TenantLimits
from tenantkb.adapters.server.metrics import Metrics
from tenantkb.domain.context import TenantContext
from tenantkb.domain.errors import LimitExceededError

T = TypeVar("T")

_TOLD_EVERY: Final = 0.25
"""Seconds between two notices of a job's progress."""


class Cancelled(BaseException):
    """Raised where a job takes notice of its progress, once nobody waits for it any more.

    Like an interruption by a signal: whatever the job has written stays, and the same job again
    goes on from there.
    """


@frozen
class Step:
    """How far a job has come.

    Attributes:
        name: What the job is called, once it has a name.
        phase: What it is at.
        done: Steps of the phase that are done.
        total: Of so many, where that is known.
    """

    name: str
    phase: str
    done: int
    total: int | None


class Watched:
    """The progress of a job in another thread, which looks there whether it is to stop."""

    def __init__(self) -> None:
        self.step = Step("", "Starting", 0, None)
        self._stopped = Event()

    def stop(self) -> None:
        """Have the job break off at its next step."""
        self._stopped.set()

    def name(self, name: str) -> None:
        """Call the job so."""
        self.step = evolve(self.step, name=name)

    def phase(self, name: str, total: int | None = None) -> None:
        self.step = evolve(self.step, phase=name, done=0, total=total)
        self._look()

    def expect(self, steps: int) -> None:
        self.step = evolve(self.step, total=(self.step.total or 0) + steps)
        self._look()

    def advance(self, steps: int = 1) -> None:
        self.step = evolve(self.step, done=self.step.done + steps)
        self._look()

    def _look(self) -> None:
        if self._stopped.is_set():
            raise Cancelled


Tell = Callable[[Step], Awaitable[None]]
"""Tells whoever waits for a job how far it has come."""


class Runner:
    """Runs calls in threads, within the limits of the caller's tenant.

    It belongs to one event loop.

    Args:
        settings: How many threads, and how long a question may take.
        limits: What a tenant may ask.
        metrics: Counts.
    """

    def __init__(self, settings: ServeSettings, limits: TenantLimits, metrics: Metrics) -> None:
        self.limits = limits
        self.metrics = metrics
        self._settings = settings
        self._questions = CapacityLimiter(settings.threads)
        self._jobs = CapacityLimiter(settings.jobs)

    async def question(
        self, context: TenantContext, operation: str, transport: str, call: Callable[[], T]
    ) -> T:
        """What a short call answers.

        Raises:
            LimitExceededError: a limit forbids it, or it took too long.
        """
        try:
            with anyio.fail_after(self._settings.request_seconds):
                return await self._run(context, operation, transport, call, self._questions)
        except TimeoutError as error:
            seconds = self._settings.request_seconds
            raise LimitExceededError(
                f"no answer within {seconds:g} s", limit="serve.request_seconds"
            ) from error

    async def job(
        self,
        context: TenantContext,
        operation: str,
        transport: str,
        call: Callable[[Watched], T],
        tell: Tell | None = None,
    ) -> T:
        """What a long call answers, which breaks off soon after nobody waits for it any more.

        Raises:
            LimitExceededError: a limit forbids it.
        """
        watched = Watched()
        outcome: list[T] = []
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            if tell is not None:
                group.start_soon(_tell_steps, watched, tell)
            try:
                outcome.append(
                    await self._run(
                        context, operation, transport, lambda: call(watched), self._jobs
                    )
                )
            except Exception as error:
                failure = error  # not within the group, which would wrap it
            finally:
                watched.stop()
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return outcome[0]

    async def _run(
        self,
        context: TenantContext,
        operation: str,
        transport: str,
        call: Callable[[], T],
        limiter: CapacityLimiter,
    ) -> T:
        """The tenant's place is free again when the thread has ended, not when nobody waits."""
        tenant = context.identity.tenant_id
        with self.metrics.measured(operation, transport, tenant):
            await self.limits.begin(tenant)
            begun = Lock()  # by the thread, or by the end of the waiting for it

            def work() -> T:
                if not begun.acquire(blocking=False):
                    raise Cancelled
                try:
                    return call()
                finally:
                    self.limits.end(tenant)

            turns = self.limits.turns(tenant) if limiter is self._questions else nullcontext()
            try:
                async with turns:
                    return await to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter)
            finally:
                if begun.acquire(blocking=False):
                    self.limits.end(tenant)


async def _tell_steps(watched: Watched, tell: Tell) -> None:
    told: Step | None = None
    while True:
        await anyio.sleep(_TOLD_EVERY)
        if (step := watched.step) != told:
            await tell(step)
            told = step
