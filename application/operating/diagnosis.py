"""Whether the embedder and the store are sound, as far as the caller may know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from attrs import define, field, frozen

from tenantkb.domain.checks import Check, State, skipped
from tenantkb.domain.context import OperatorScope, ReadScope, TenantContext, require_context
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import (
    AccessDeniedError,
    MalformedRowError,
    Remedy,
    StoreLockedError,
    StoreMismatchError,
    TenantKbError,
)
from tenantkb.domain.rows import read_row
from tenantkb.domain.stamps import unlabelled_stamp_of
from tenantkb.ports.embedding import Embedder
from tenantkb.ports.engine import RawRow, Vector
from tenantkb.ports.store import ExaminedStore

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

_UNREACHABLE: Final = "reach-store"
_LOCKED: Final = "wait-for-writer"
_MISMATCH: Final = "choose-collection"
_MALFORMED: Final = "restore-rows"
_REMEDIES: Final = {
    _UNREACHABLE: "Start the store's server, or correct the settings of the store.",
    _LOCKED: "Wait until that process has finished, or stop it.",
    _MISMATCH: "Configure the embedder that made the collection, or choose another collection and "
    "synchronise again.",
    _MALFORMED: "Export the collection, look at these rows there, and restore what is to be kept.",
    Remedy.REPAIR_STORE: "Repair the store. If that fails, restore a backup or synchronise again.",
    Remedy.MIGRATE_STORE: "Migrate the store.",
}
"""What to do, by remedy, where the store has no words of its own."""

_EMBEDDER: Final = "Correct the settings of the embedder, or install its package again."

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


def check_embedder(name: str, embedder: Embedder, remedy: str) -> Check:
    """Whether the embedder loads and keeps to its contract for one text."""
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
    malformed: _Rows = field(factory=_Rows)
    misplaced: _Rows = field(factory=_Rows)
    is_complete: bool = False

    def add(self, raw: RawRow, vector: Vector, dimension: int) -> None:
        self.rows += 1
        if vector.shape != (dimension,) or not np.isfinite(vector).all():
            self.unfit.add(raw.id)
        try:
            unlabelled_stamp_of(raw.metadata)
        except MalformedRowError:
            self.unstamped.add(raw.id)
            return
        try:
            row = read_row(raw.id, raw.metadata)
        except MalformedRowError:
            self.malformed.add(raw.id)
            return
        if row.key != raw.key:
            self.misplaced.add(raw.id)


@frozen(kw_only=True)
class Diagnose:
    """Examine the embedder and the store; nothing is written.

    Whoever is no operator learns of nothing but its own rows: neither whether the collection
    exists nor how it is, unless it is so that any of the caller's questions would fail.

    Attributes:
        store: The store.
        embedder: The one in force.
        collection: Name of the collection.
    """

    store: ExaminedStore
    embedder: Embedder
    collection: str

    def __call__(self, context: TenantContext | None) -> Iterator[Check]:
        """Check the embedder, then make the checks of :data:`STORE_CHECKS`, then the store's own.

        Args:
            context: The caller's standing; ``None`` if nobody could be authenticated.
        """
        checked = examine(
            "embedder",
            lambda name: check_embedder(name, self.embedder, _EMBEDDER),
            _EMBEDDER,
        )
        yield checked
        usable = self.embedder.profile if checked.state is State.OK else None
        try:
            profile = self.store.profile()
        except Exception as error:  # whatever it is, it is what every command would meet
            yield from self._closed(error)
        else:
            yield from self._open(context, profile, usable)
        if _operator(context) is None:  # the store's own checks tell of everybody's rows
            yield _for_operators("store.details")
        else:
            yield from self.store.examine()

    def _open(
        self,
        context: TenantContext | None,
        profile: EmbedderProfile | None,
        embedder: EmbedderProfile | None,
    ) -> Iterator[Check]:
        operator = _operator(context)
        yield self._opened("store.reachable")
        yield self._opened("store.lock")
        yield self._opened("store.collection") if operator is None else self._existing(profile)
        yield _same_embedder("store.embedder", profile, embedder)
        if context is None:
            yield from (skipped(name, "identity") for name in STORE_CHECKS[4:])
            return
        scope = context.reading()
        damaged = self._remedy(Remedy.REPAIR_STORE)
        yield examine("store.index", lambda name: self._index(name, scope, profile), damaged)
        if operator is None:
            yield from map(_for_operators, STORE_CHECKS[5:])
        else:
            yield from self._rows(operator, profile)

    def _remedy(self, key: str) -> str:
        return self.store.remedy(key) or _REMEDIES.get(key, _REMEDIES[_UNREACHABLE])

    def _closed(self, error: Exception) -> Iterator[Check]:
        """The checks of a store that cannot be opened."""
        culprit = "store.reachable"
        remedy = self._remedy(getattr(error, "remedy", None) or _UNREACHABLE)
        if isinstance(error, StoreLockedError):
            culprit, remedy = "store.lock", self._remedy(_LOCKED)
        elif isinstance(error, StoreMismatchError):
            culprit = "store.collection"
            remedy = self._remedy(error.remedy or _MISMATCH)
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

    def _index(self, name: str, scope: ReadScope, profile: EmbedderProfile | None) -> Check:
        """Whether the vectors of the caller's rows are found, all and by an ordinary question."""
        rows = sum(self.store.count(scope).values())
        if profile is not None and rows:
            axis = np.zeros(profile.dimension, np.float32)
            axis[0] = 1
            for asked in (min(rows, _ASKED), min(rows, _FEW)):
                answered = len(self.store.query(scope, axis, asked))
                # Another process may delete rows meanwhile.
                if answered < asked and answered < min(
                    asked, sum(self.store.count(scope).values())
                ):
                    finding = f"of {asked:,} rows asked for, the index finds {answered:,}"
                    return Check(name, State.ERROR, finding, self._remedy(Remedy.REPAIR_STORE))
        return Check(
            name,
            State.OK,
            f"the index finds the rows that the caller may read, {rows:,} in number",
        )

    def _rows(self, scope: OperatorScope, profile: EmbedderProfile | None) -> Iterator[Check]:
        survey = _Survey()
        dimension = 0 if profile is None else profile.dimension
        damaged = self._remedy(Remedy.REPAIR_STORE)

        def vectors(name: str) -> Check:
            for raw, vector in self.store.export(scope):
                survey.add(raw, vector, dimension)
            survey.is_complete = True
            if survey.unfit.count:
                finding = f"rows without a finite vector of {dimension} dimensions: {survey.unfit}"
                return Check(name, State.ERROR, finding, damaged)
            return Check(name, State.OK, f"{survey.rows:,} rows, each with a fitting vector")

        yield examine("store.vectors", vectors, damaged)
        yield (
            self._stamps("store.stamps", survey)
            if survey.is_complete
            else skipped("store.stamps", "store.vectors")
        )

    def _stamps(self, name: str, survey: _Survey) -> Check:
        findings = [
            f"{told}: {rows}"
            for told, rows in (
                ("rows without a well-formed stamp", survey.unstamped),
                ("rows without a well-formed path or field", survey.malformed),
                ("rows that do not lie where their stamp says", survey.misplaced),
            )
            if rows.count
        ]
        if findings:
            finding = f"{'; '.join(findings)}; nobody can read them"
            return Check(name, State.ERROR, finding, self._remedy(_MALFORMED))
        return Check(name, State.OK, f"{survey.rows:,} rows, each with a well-formed stamp")


def _operator(context: TenantContext | None) -> OperatorScope | None:
    if context is None:
        return None
    try:
        return require_context(context).operating()
    except AccessDeniedError:
        return None


def _same_embedder(
    name: str, stored: EmbedderProfile | None, configured: EmbedderProfile | None
) -> Check:
    if configured is None:
        return skipped(name, "embedder")
    try:
        if stored is not None:
            stored.require(configured)
    except StoreMismatchError as error:
        return failed(name, error, _REMEDIES[_MISMATCH])
    return Check(name, State.OK, "nothing in the store is of another embedder")


def _for_operators(name: str) -> Check:
    return Check(
        name,
        State.SKIPPED,
        "needs the role operator",
        "Call as an operator.",
    )
