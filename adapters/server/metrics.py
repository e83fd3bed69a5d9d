"""What Prometheus is told, on a listener of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from tenantkb.domain.errors import ConfigurationError, ErrorKind, TenantKbError

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The counters of one server. Tenants are named only where the operator wants that.

    Args:
        tenants: Whether they are.
    """

    def __init__(self, *, tenants: bool) -> None:
        self.registry = CollectorRegistry()
        self._tenants = tenants
        of_whom = ("tenant",) if tenants else ()
        self._requests = Counter(
            "tenantkb_requests",
            "Requests that have ended.",
            ("operation", "transport", "outcome", *of_whom),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "tenantkb_request_seconds",
            "Time that a request took.",
            ("operation", "transport"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._running = Gauge(
            "tenantkb_requests_running",
            "Requests that are running.",
            ("operation",),
            registry=self.registry,
        )
        self._refused = Counter(
            "tenantkb_limit_exceeded",
            "Requests refused by a limit.",
            ("limit", *of_whom),
            registry=self.registry,
        )
        self._unauthenticated = Counter(
            "tenantkb_unauthenticated",
            "Requests without a token that holds.",
            registry=self.registry,
        )

    def unauthenticated(self) -> None:
        """A request had no token that holds."""
        self._unauthenticated.inc()

    def exceeded(self, limit: str, tenant: str) -> None:
        """A limit has refused a tenant's request."""
        self._refused.labels(limit, *self._of(tenant)).inc()

    @contextmanager
    def measured(self, operation: str, transport: str, tenant: str) -> Iterator[None]:
        """Count and time what happens within."""
        outcome = ErrorKind.INTERNAL.value
        started = time.perf_counter()
        with self._running.labels(operation).track_inprogress():
            try:
                yield
                outcome = "ok"
            except TenantKbError as error:
                outcome = error.kind.value
                raise
            except Exception:
                raise
            except BaseException:
                outcome = "cancelled"
                raise
            finally:
                seconds = time.perf_counter() - started
                self._seconds.labels(operation, transport).observe(seconds)
                self._requests.labels(operation, transport, outcome, *self._of(tenant)).inc()

    @contextmanager
    def served(self, address: str) -> Iterator[str | None]:
        """Listen on ``HOST:PORT`` while what is within goes on; nowhere for an empty address.

        Yields:
            The address, with the port that was taken for 0.

        Raises:
            ConfigurationError: the address has another form, or cannot be listened on.
        """
        if not address:
            yield None
            return
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise ConfigurationError(f"serve.metrics_address is HOST:PORT, not {address!r}")
        try:
            server, thread = start_http_server(int(port), host.strip("[]"), self.registry)
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {address}: {error}") from error
        try:
            yield f"{host}:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _of(self, tenant: str) -> tuple[str, ...]:
        return (tenant,) if self._tenants else ()
