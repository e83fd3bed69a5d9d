"""The one way to an operator's scope for use cases that change or hand out all tenants' rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from attrs import define, evolve, field, frozen

from tenantkb.domain.context import OperatorScope, TenantContext, require_context
from tenantkb.domain.errors import AuditError, TenantKbError
from tenantkb.ports.audit import ActEvent, AuditLog, AuditRecord, Detail
from tenantkb.ports.clock import Clock


@define
class Act:
    """An act that has begun.

    Attributes:
        scope: What it may operate on.
        result: What came of it, for the record of its end.
    """

    scope: OperatorScope
    result: dict[str, Detail] = field(factory=dict)


@frozen
class Acts:
    """Lets operators act, and has it recorded.

    Attributes:
        log: Where.
        clock: Tells when.
        collection: Name of the collection that all acts are about.
    """

    log: AuditLog
    clock: Clock
    collection: str

    @contextmanager
    def begin(self, context: TenantContext, name: str, **arguments: Detail) -> Iterator[Act]:
        """An act of the caller's; it ends with the block, which is told to the log as well.

        Args:
            context: The caller's standing.
            name: What is done.
            arguments: With what: nothing that a row holds, and no secret.

        Raises:
            AuthenticationError: no valid standing.
            AccessDeniedError: the caller is no operator.
            AuditError: the beginning cannot be recorded, and the act does not begin; or it is done,
                and its end cannot be recorded.
        """
        act = Act(require_context(context).operating())
        begun = AuditRecord(
            act=uuid4().hex,
            name=name,
            event=ActEvent.BEGUN,
            at=self.clock.now(),
            identity=act.scope.identity,
            details={"collection": self.collection, **arguments},
        )
        try:
            self.log.append(begun)
        except AuditError as error:
            raise AuditError(f"{error}; nothing was done") from error
        try:
            yield act
        except BaseException as error:
            event = ActEvent.FAILED if isinstance(error, Exception) else ActEvent.INTERRUPTED
            code = error.code if isinstance(error, TenantKbError) else type(error).__name__
            try:
                self._end(begun, event, {"error": code})
            except AuditError as unrecorded:
                error.add_note(str(unrecorded))
            raise
        try:
            self._end(begun, ActEvent.DONE, act.result)
        except AuditError as error:
            raise AuditError(f"{name}: it is done, but {error}") from error

    def _end(self, begun: AuditRecord, event: ActEvent, details: dict[str, Detail]) -> None:
        self.log.append(evolve(begun, event=event, at=self.clock.now(), details=details))
