"""What one tenant may ask, so that it leaves room for the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from threading import Lock

from anyio import CapacityLimiter
from limits import RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter, SlidingWindowCounterRateLimiter

from tenantkb.adapters.configuration.settings import LimitSettings
from tenantkb.domain.errors import LimitExceededError


class TenantLimits:
    """The limits of all tenants of one process, each by itself.

    It belongs to one event loop; only :meth:`end` is for other threads as well.

    Args:
        settings: The limits.
        exceeded: Told the name of a limit and the tenant whose request is refused.
    """

    def __init__(self, settings: LimitSettings, exceeded: Callable[[str, str], None]) -> None:
        storage = MemoryStorage()
        self._settings = settings
        self._exceeded = exceeded
        self._running = Counter[str]()
        self._turns: dict[str, CapacityLimiter] = {}
        self._lock = Lock()
        self._requests = MovingWindowRateLimiter(storage)
        self._bytes = SlidingWindowCounterRateLimiter(storage)
        self._per_second = RateLimitItemPerSecond(settings.requests_per_second)
        self._per_minute = RateLimitItemPerMinute(settings.bytes_per_minute)

    async def begin(self, tenant: str) -> None:
        """Admit a request, which has to :meth:`end`.

        Raises:
            LimitExceededError: the tenant has too many, at present or within the last second.
        """
        if self._running[tenant] >= self._settings.concurrent_requests:
            most = self._settings.concurrent_requests
            raise self._refused(
                tenant, "concurrent_requests", f"of one tenant, {most} requests run at a time"
            )
        if not await self._requests.hit(self._per_second, "requests", tenant):
            most = self._settings.requests_per_second
            raise self._refused(
                tenant, "requests_per_second", f"one tenant may send {most} requests a second"
            )
        with self._lock:
            self._running[tenant] += 1

    def turns(self, tenant: str) -> CapacityLimiter:
        """For the threads that answer a tenant's questions: the others of it wait for their turn.

        Python runs one thread at a time, so that a tenant with many would slow down all others.
        """
        return self._turns.setdefault(tenant, CapacityLimiter(self._settings.parallel_questions))

    def end(self, tenant: str) -> None:
        """A request that was admitted has come to its end."""
        with self._lock:
            self._running[tenant] -= 1
            if not self._running[tenant]:
                del self._running[tenant]

    async def take(self, tenant: str, size: int) -> None:
        """Count so many bytes of a body.

        Raises:
            LimitExceededError: the tenant has sent too many within the last minute.
        """
        if not await self._bytes.hit(self._per_minute, "bytes", tenant, cost=size):
            most = self._settings.bytes_per_minute
            raise self._refused(
                tenant, "bytes_per_minute", f"one tenant may send {most:,} bytes a minute", 10
            )

    def _refused(
        self, tenant: str, limit: str, message: str, retry_after: float = 1
    ) -> LimitExceededError:
        self._exceeded(limit, tenant)
        return LimitExceededError(message, limit=f"limits.{limit}", retry_after=retry_after)
