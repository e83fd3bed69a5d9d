"""Whether the embedder and the store are sound, as far as the caller may know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from attrs import define, field, frozen

from tenantkb.domain.checks import Check, State, skipped
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import (
    AccessDeniedError,
    InvalidInputError,
    StoreLockedError,
    StoreMismatchError,
    TenantKbError,
)
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.rows import Metadata
from tenantkb.domain.tenancy import OperatorScope, ReadScope, Tenancy, stamp_of, unlabelled_stamp_of
from tenantkb.ports.clock import Clock
from tenantkb.ports.embedding import Embedder
from tenantkb.ports.store import Vector, VectorStore

STORE_CHECKS: Final = (
    "store.reachable",
    "store.lock",
    "store.collection",
    "store.embedder",
    "store.index",
    "store.vectors",
    "store.stamps",
)
"""In this order. The first three are about opening the store, the last two for operators alone."""

_PROBE: Final = "a question about a knowledge base"
_LENGTH_ERROR: Final = 1e-3
"""More than single precision can be wrong by in the length of a unit vector."""

_ASKED: Final = 5000
"""Rows that are asked for at most, as nearest neighbours. An approximate index answers far fewer,
so a store has to compare all vectors of the scope."""

_FEW: Final = 10
"""Rows that an ordinary question asks for, which an approximate index may answer."""


def examine(name: str, look: Callable[[str], Check], remedy: str) -> Check:
    """Make one check.

    Args:
        name: Its name.
        look: Makes it, given its name.
        remedy: What to do if that fails, for whatever reason.
    """
    try:
        return look(name)
    except Exception as error:  # one failed check must not keep the others from being made
        return failed(name, error, remedy)


def failed(name: str, error: Exception, remedy: str) -> Check:
    """The check that an error broke off."""
    told = str(error) if isinstance(error, TenantKbError) else f"{type(error).__name__}: {error}"
    return Check(name, State.ERROR, told, remedy)


def check_embedder(name: str, load: Callable[[], Embedder], remedy: str) -> Check:
    """Whether the embedder loads and keeps to its contract for one text."""
    embedder = load()
    profile = embedder.profile
    vectors = embedder.embed([_PROBE])
    told = f"{profile.name}, {profile.dimension} dimensions"
    if vectors.shape != (1, profile.dimension):
        wrong = f"{told}, but one text gives an array of shape {vectors.shape}"
    elif not np.isfinite(vectors).all():
        wrong = f"{told}, but a vector holds NaN or infinity"
    elif abs((length := float(np.linalg.norm(vectors))) - 1) > _LENGTH_ERROR:
        wrong = f"{told}, but a vector has the length {length:.3f}, not 1"
    else:
        return Check(name, State.OK, told)
    return Check(name, State.ERROR, wrong, remedy)


@define
class _Rows:
    """Rows of one kind: how many, and the id of the first."""

    count: int = 0
    first: str = ""

    def add(self, row_id: str) -> None:
        self.first = self.first or row_id
        self.count += 1

    def __str__(self) -> str:
        return f"{self.count:,}, the first is {self.first}"


@define
class _Survey:
    """What one pass over all rows has seen."""

    rows: int = 0
    unfit: _Rows = field(factory=_Rows)
    unstamped: _Rows = field(factory=_Rows)
    mislabelled: _Rows = field(factory=_Rows)
    is_complete: bool = False

    def add(self, row_id: str, metadata: Metadata, vector: Vector, dimension: int) -> None:
        self.rows += 1
        if vector.shape != (dimension,) or not np.isfinite(vector).all():
            self.unfit.add(row_id)
        try:
            unlabelled_stamp_of(metadata)
        except InvalidInputError:
            self.unstamped.add(row_id)
            return
        try:
            stamp_of(metadata)
        except InvalidInputError:
            self.mislabelled.add(row_id)


@frozen(kw_only=True)
class DiagnoseStore:
    """Examine the store; nothing is written.

    Whoever is no operator learns of nothing but its own rows: neither whether the collection
    exists nor how it is, unless it is so that any of the caller's questions would fail.

    Attributes:
        store: The store.
        tenancy: The shared namespace.
        clock: For the expiry of identities.
        collection: Name of the collection.
        if_unreachable: What to do when the store does not answer.
        if_damaged: What to do when it answers and is damaged.
    """

    store: VectorStore
    tenancy: Tenancy
    clock: Clock
    collection: str
    if_unreachable: str
    if_damaged: str

    def __call__(
        self, identity: AgentIdentity | None, embedder: EmbedderProfile | None
    ) -> Iterator[Check]:
        """Make the checks of :data:`STORE_CHECKS`, in their order.

        Args:
            identity: The caller; ``None`` if nobody could be authenticated.
            embedder: The configured one's profile; ``None`` if it could not be loaded.
        """
        try:
            profile = self.store.profile()
        except Exception as error:  # whatever it is, it is what every command would meet
            yield from self._closed(error)
            return
        operator = self._operator(identity)
        yield self._opened("store.reachable")
        yield self._opened("store.lock")
        yield self._opened("store.collection") if operator is None else self._existing(profile)
        yield self._embedder("store.embedder", profile, embedder)
        if identity is None:
            yield from (skipped(name, "identity") for name in STORE_CHECKS[4:])
            return
        yield examine(
            "store.index", lambda name: self._index(name, identity, profile), self.if_damaged
        )
        if isinstance(operator, OperatorScope):
            yield from self._rows(operator, profile)
        else:
            yield from map(_for_operators, STORE_CHECKS[5:])

    def _operator(self, identity: AgentIdentity | None) -> OperatorScope | None:
        if identity is None:
            return None
        try:
            return OperatorScope.of(identity, self.tenancy, self.clock.now())
        except AccessDeniedError:
            return None

    def _closed(self, error: Exception) -> Iterator[Check]:
        """The checks of a store that cannot be opened."""
        culprit, remedy = "store.reachable", self.if_unreachable
        if isinstance(error, StoreLockedError):
            culprit = "store.lock"
            remedy = (
                "Wait until that process has finished, or stop it; processes that work at the "
                'same time share a Chroma server (store.kind = "chroma-http").'
            )
        elif isinstance(error, StoreMismatchError):
            culprit = "store.collection"
            remedy = "Set store.collection to another name and sync again."
        place = STORE_CHECKS.index(culprit)
        yield from map(self._opened, STORE_CHECKS[:place])
        yield failed(culprit, error, remedy)
        yield from (skipped(name, culprit) for name in STORE_CHECKS[place + 1 :])

    def _opened(self, name: str) -> Check:
        findings = {
            "store.reachable": "the store answers",
            "store.lock": "no other process keeps it locked",
            "store.collection": f"{self.collection} is no other program's",
        }
        return Check(name, State.OK, findings[name])

    def _existing(self, profile: EmbedderProfile | None) -> Check:
        is_there = "has not been made yet" if profile is None else "exists, in our format"
        return Check("store.collection", State.OK, f"{self.collection} {is_there}")

    @staticmethod
    def _embedder(
        name: str, stored: EmbedderProfile | None, configured: EmbedderProfile | None
    ) -> Check:
        if configured is None:
            return skipped(name, "embedder")
        try:
            if stored is not None:
                stored.require(configured)
        except StoreMismatchError as error:
            remedy = (
                "Configure the embedder that made the collection (embedder.kind, .model, "
                ".dimension, .window_characters), or set store.collection to another name and "
                "sync again."
            )
            return failed(name, error, remedy)
        return Check(name, State.OK, "nothing in the store is of another embedder")

    def _index(self, name: str, identity: AgentIdentity, profile: EmbedderProfile | None) -> Check:
        """Whether the vectors of the caller's rows are found, all and by an ordinary question."""
        scope = ReadScope.of(identity, self.tenancy, self.clock.now())
        rows, readable = self._count(scope)
        if profile is not None and rows:
            axis = np.zeros(profile.dimension, np.float32)
            axis[0] = 1
            for asked in (min(rows, _ASKED), min(rows, _FEW)):
                answered = len(self.store.query(scope, axis, asked))
                # Another process may delete rows meanwhile.
                if answered < asked and answered < min(asked, self._count(scope)[0]):
                    finding = f"of {asked:,} rows asked for, the index finds {answered:,}"
                    return Check(name, State.ERROR, finding, self.if_damaged)
        return Check(
            name,
            State.OK,
            f"the index finds the rows that the caller may read, {readable:,} in number",
        )

    def _count(self, scope: ReadScope) -> tuple[int, int]:
        """The rows that the store answers in a scope, and those of them that may be read."""
        rows = readable = 0
        for row in self.store.scan(scope):
            rows += 1
            readable += scope.admits(row.metadata)
        return rows, readable

    def _rows(self, scope: OperatorScope, profile: EmbedderProfile | None) -> Iterator[Check]:
        survey = _Survey()
        dimension = 0 if profile is None else profile.dimension

        def vectors(name: str) -> Check:
            for row, vector in self.store.export(scope):
                survey.add(row.id, row.metadata, vector, dimension)
            survey.is_complete = True
            if survey.unfit.count:
                finding = f"rows without a finite vector of {dimension} dimensions: {survey.unfit}"
                return Check(name, State.ERROR, finding, self.if_damaged)
            return Check(name, State.OK, f"{survey.rows:,} rows, each with a fitting vector")

        yield examine("store.vectors", vectors, self.if_damaged)
        yield (
            self._stamps("store.stamps", survey)
            if survey.is_complete
            else skipped("store.stamps", "store.vectors")
        )

    def _stamps(self, name: str, survey: _Survey) -> Check:
        findings, adoption = [], ""
        if survey.unstamped.count:
            findings.append(f"rows without a well-formed stamp: {survey.unstamped}")
            adoption = f" --adopt TENANT/REPO --mode replace --confirm {self.collection}"
        if survey.mislabelled.count:
            findings.append(f"rows whose access label is not their stamp's: {survey.mislabelled}")
        if findings:
            remedy = (
                "Run `tenantkb backup export rows.jsonl`, look at these rows there, and "
                f"run `tenantkb backup import rows.jsonl{adoption}`."
            )
            return Check(name, State.ERROR, f"{'; '.join(findings)}; nobody can read them", remedy)
        return Check(name, State.OK, f"{survey.rows:,} rows, each with a well-formed stamp")


def _for_operators(name: str) -> Check:
    return Check(
        name,
        State.SKIPPED,
        "needs the role operator",
        "Call as an operator: TENANTKB_ROLES=operator, identity.roles, or the token's roles.",
    )
