"""Stores whose filter somebody has broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from attrs import frozen

from tenantkb.adapters.stores import chroma, memory
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.rows import ANY, Criteria, Match, Row
from tenantkb.domain.tenancy import ReadScope, WriteScope
from tenantkb.ports.store import VectorStore
from tests.fail_closed import raw

Scope = ReadScope | WriteScope
Where = Callable[[Scope, Criteria], dict[str, Any]]
InScope = Callable[[Scope, Criteria, Mapping[str, Any]], bool]


@frozen
class BrokenFilter:
    """A filter as every store would apply it: as Chroma's condition, and as a predicate."""

    where: Where
    in_scope: InScope

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every store filters like this from now on."""
        monkeypatch.setattr(chroma, "_where", self.where)
        for module in (chroma, memory):
            monkeypatch.setattr(module, "in_scope", self.in_scope)


_FOREIGN = ("team:acme", "team:beta", "private:acme:bob")

BROKEN_FILTERS = {
    "removed": BrokenFilter(
        where=lambda scope, criteria: {"access": {"$ne": "nothing"}},
        in_scope=lambda scope, criteria, metadata: True,
    ),
    "inverted": BrokenFilter(
        where=lambda scope, criteria: {"access": {"$nin": list(scope.labels)}},
        in_scope=lambda scope, criteria, metadata: metadata.get("access") not in scope.labels,
    ),
    "weakened": BrokenFilter(
        where=lambda scope, criteria: {"access": {"$in": [*scope.labels, *_FOREIGN]}},
        in_scope=lambda scope, criteria, metadata: (
            metadata.get("access") in (*scope.labels, *_FOREIGN)
        ),
    ),
}


@frozen
class Babbler:
    """A store that answers every read with everything that it holds."""

    inner: VectorStore

    def profile(self) -> EmbedderProfile | None:
        return self.inner.profile()

    def query(
        self,
        scope: ReadScope,
        vector: npt.NDArray[np.float32],
        limit: int,
        criteria: Criteria = ANY,
    ) -> list[Match]:
        return [Match(row, 1.0) for row in self._all()]

    def get(self, scope: ReadScope, ids: Sequence[str]) -> list[Row]:
        return list(self._all())

    def scan(self, scope: Scope, criteria: Criteria = ANY, after: str = "") -> Iterator[Row]:
        return self._all()

    def _all(self) -> Iterator[Row]:
        return (Row(key, metadata) for key, (metadata, _) in raw.stored(self.inner).items())
