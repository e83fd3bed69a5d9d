"""The scope before the store and the second check behind it, as every reading use case has them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime
from itertools import chain

import pytest
from attrs import evolve, frozen

from tenantkb.adapters.runtime.telemetry import LoggedIsolationFaults
from tenantkb.adapters.stores.memory import MemoryStore
from tenantkb.application.reading.base import ReadUseCase
from tenantkb.domain.errors import AuthenticationError
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.rows import ANY, Criteria, Row
from tenantkb.domain.tenancy import ReadScope, Visibility, WriteScope
from tenantkb.ports.store import VectorStore
from tests.conformance.samples import NOW, PROFILE, TENANCY, reading, row, vectors, writing

ADA = AgentIdentity("acme", "ada")
MINE, FOREIGN = writing("acme"), writing("beta")
OTHERS = writing("acme", "bob", visibility=Visibility.PRIVATE)


@frozen
class FixedClock:
    def now(self) -> datetime:
        return NOW


@frozen
class Everything(ReadUseCase):
    """The smallest use case that reads."""

    def __call__(self, identity: AgentIdentity | None, criteria: Criteria = ANY) -> list[Row]:
        return list(self._scan(self._scope(identity), criteria))


class CarelessStore(MemoryStore):
    """It forgets whose rows it was asked for, and answers those of everybody."""

    def scan(
        self, scope: ReadScope | WriteScope, criteria: Criteria = ANY, after: str = ""
    ) -> Iterator[Row]:
        everybody = (reading("acme"), reading("acme", "bob"), reading("beta"))
        scans = [super(CarelessStore, self).scan(each, criteria, after) for each in everybody]
        answers = {each.id: each for each in chain.from_iterable(scans)}
        yield from answers.values()


def filled(store: VectorStore) -> VectorStore:
    store.bind(PROFILE)
    for scope in (MINE, OTHERS, FOREIGN):
        store.upsert(scope, [row(scope, name) for name in names(scope)], vectors(2))
    return store


def names(scope: WriteScope) -> list[str]:
    """Names that no other scope uses: one content and path is one row of a repository."""
    return [f"guide of {scope.label}", f"ticket of {scope.label}"]


def use_case(store: VectorStore) -> Everything:
    return Everything(filled(store), TENANCY, FixedClock(), LoggedIsolationFaults())


def found(use_case: Everything, criteria: Criteria = ANY) -> list[str]:
    return sorted(str(each.metadata["name"]) for each in use_case(ADA, criteria))


def test_the_rows_of_a_correct_store_pass_without_a_fault() -> None:
    reading_everything = use_case(MemoryStore())
    assert found(reading_everything) == names(MINE)
    assert reading_everything.faults.count() == 0


def test_rows_that_a_store_should_not_have_answered_are_withheld_counted_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reading_everything = use_case(CarelessStore())
    with caplog.at_level(logging.ERROR, "tenantkb.isolation"):
        assert found(reading_everything) == names(MINE)
    withheld = [row(scope, name).id for scope in (OTHERS, FOREIGN) for name in names(scope)]
    assert reading_everything.faults.count() == len(withheld)
    assert all(sum(each in line for line in caplog.messages) == 1 for each in withheld)


def test_an_id_can_not_forge_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    LoggedIsolationFaults().record("x withheld\nERROR all rows are lost\x1b[2J\u2028")
    [message] = caplog.messages
    assert message.isascii()
    assert message.isprintable()


@pytest.mark.parametrize(
    "tampering",
    [{"tenantId": "beta"}, {"visibility": "private"}, {"visibility": "public"}, {"repoSlug": ""}],
)
def test_a_row_whose_stamp_was_tampered_with_is_withheld(tampering: dict[str, str]) -> None:
    store = MemoryStore()
    reading_everything = use_case(store)
    for metadata in store._metadata:
        metadata.update(tampering)
    assert found(reading_everything) == []
    assert reading_everything.faults.count() == 2


def test_criteria_reach_the_store() -> None:
    store = MemoryStore()
    everything = use_case(store)
    store.upsert(MINE, [row(MINE, "a method", type="src")], vectors(1))
    assert found(everything, Criteria(type="src")) == ["a method"]


def test_an_identity_that_has_expired_or_is_missing_reads_nothing() -> None:
    everything = use_case(MemoryStore())
    for identity in (None, evolve(ADA, expires_at=NOW)):
        with pytest.raises(AuthenticationError):
            everything(identity)
