"""Samples as an engine gets them, without the guard that makes them so."""

from __future__ import annotations

from tenantkb.domain.context import WriteScope
from tenantkb.domain.selection import Selection
from tenantkb.ports.engine import Engine, RawRow
from tenantkb.testing import samples


def readable(tenant: str = "acme", agent: str = "ada", **equalities: str) -> Selection:
    return Selection(samples.reading(tenant, agent).labels, equalities)


def row(scope: WriteScope, name: str, **fields: object) -> RawRow:
    return samples.raw(samples.row(scope, name, **fields))


def rows(scope: WriteScope, count: int, **fields: object) -> list[RawRow]:
    return [samples.raw(each) for each in samples.rows(scope, count, **fields)]


def in_order(some: list[RawRow]) -> list[RawRow]:
    return sorted(some, key=lambda each: (each.id, each.label))


def put(engine: Engine, written: list[RawRow], seed: int = 0) -> None:
    samples.fill(engine, written, samples.vectors(len(written), seed))
