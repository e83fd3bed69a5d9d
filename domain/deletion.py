"""Which stored rows of one repository are gone, by the signals that came with a push.

A client says in up to three ways that files are gone:

- a *revision boundary*: the paths deleted between two revisions are expected to be gone;
- *tombstones*: these paths are gone as well;
- a *manifest snapshot*: these paths are all that there are. What the other two expect and the
  manifest lists stays (unless it is tombstoned, which is a contradiction), and every other stored
  path is an *orphan*.

They are applied in this order. A manifest has no say over rows that are younger than it: an orphan
goes only if it was ingested before the manifest was made, and a row of unknown age stays.

Nothing here reads or writes. A plan holds paths, never rows or ids: the paths that were signalled,
and a count for each stored path that is affected. A repository of a million rows in a hundred
thousand files needs some tens of megabytes at most.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Set
from datetime import datetime
from enum import Enum
from typing import Any, Final

from attrs import Attribute, field, frozen, validators

from tenantkb.domain.canonical import digest
from tenantkb.domain.errors import (
    DeletionConflictError,
    InvalidInputError,
    ManifestOutdatedError,
    ManifestRequiredError,
    Remedy,
)
from tenantkb.domain.paths import require_repo_slug, require_source_path
from tenantkb.domain.records import shown
from tenantkb.domain.stamps import format_instant, require_instant

_REVISION: Final = re.compile(r"[!-,.-~][!-~]{0,255}")
_PATHS_SHOWN: Final = 5


def require_revision(value: object) -> str:
    """Return ``value`` if it names a revision: 1 to 256 of ASCII's ``!`` to ``~``, no hyphen first.

    Revisions are compared by their characters, so that a client sends ids that never move, such as
    full commit ids, and no names of branches.

    Raises:
        InvalidInputError: anything else.
    """
    if isinstance(value, str) and _REVISION.fullmatch(value):
        return value
    raise InvalidInputError(
        f"{shown(value)} is not a revision: 1 to 256 printable ASCII characters without white "
        "space, the first of them no hyphen"
    )


def _revision(_: Any, __: Attribute[str], value: str) -> None:
    require_revision(value)


def _repo_slug(_: Any, __: Attribute[str], value: str) -> None:
    require_repo_slug(value)


def _source_path(_: Any, __: Attribute[str], value: str) -> None:
    require_source_path(value)


def _source_paths(_: Any, __: Attribute[frozenset[str]], value: frozenset[str]) -> None:
    for path in value:
        require_source_path(path)


def _to_milliseconds(instant: datetime) -> datetime:
    """The precision of stored instants. Down, so that no row seems older than the manifest."""
    require_instant(instant)
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


@frozen
class Tombstone:
    """One file is gone.

    Attributes:
        repo_slug: Its repository.
        source_path: The file.
    """

    repo_slug: str = field(validator=_repo_slug)
    source_path: str = field(validator=_source_path)


@frozen
class ManifestSnapshot:
    """All files that a repository has after a push.

    Attributes:
        repo_slug: The repository.
        paths: The files.
        made_at: Aware instant at which the files were listed, cut to milliseconds.
    """

    repo_slug: str = field(validator=_repo_slug)
    paths: frozenset[str] = field(validator=_source_paths)
    made_at: datetime = field(converter=_to_milliseconds)


@frozen
class RevisionBoundary:
    """The revisions before and after a push.

    Attributes:
        head: The revision after it.
        base: The revision before it; ``None`` where the client knows none, which needs a manifest.
    """

    head: str = field(validator=_revision)
    base: str | None = field(default=None, validator=validators.optional(_revision))


DeletionSignal = Tombstone | ManifestSnapshot | RevisionBoundary
"""One way to say that files are gone. One push may bring several."""


@frozen
class DeletionSignals:
    """The signals of one push.

    Attributes:
        signals: Any number of tombstones, at most one manifest and one boundary.

    Raises:
        DeletionConflictError: there are two manifests or two boundaries.
    """

    signals: tuple[DeletionSignal, ...]

    def __attrs_post_init__(self) -> None:
        for kind, name in ((ManifestSnapshot, "manifests"), (RevisionBoundary, "boundaries")):
            if sum(isinstance(signal, kind) for signal in self.signals) > 1:
                raise DeletionConflictError(f"one push has two {name}; nothing was deleted")

    @property
    def tombstones(self) -> tuple[Tombstone, ...]:
        """Files that are gone."""
        return tuple(signal for signal in self.signals if isinstance(signal, Tombstone))

    @property
    def manifest(self) -> ManifestSnapshot | None:
        """All files that there are."""
        found = (signal for signal in self.signals if isinstance(signal, ManifestSnapshot))
        return next(found, None)

    @property
    def boundary(self) -> RevisionBoundary | None:
        """The revisions between which files went."""
        found = (signal for signal in self.signals if isinstance(signal, RevisionBoundary))
        return next(found, None)


@frozen
class KnownState:
    """What is known of a repository from the pushes before. It says nothing about rows.

    Attributes:
        head: The head of the last push that named one.
        manifest: The latest manifest, as it was sent.
    """

    head: str | None = None
    manifest: ManifestSnapshot | None = None

    def after(self, signals: DeletionSignals) -> KnownState:
        """What is known once the signals have been applied."""
        return KnownState(
            head=signals.boundary.head if signals.boundary else self.head,
            manifest=signals.manifest or self.manifest,
        )

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal digits, of the head and the manifest's instant.

        Not of the manifest's paths: they may be files of which a reader of the digest sees no row.
        """
        made_at = None if self.manifest is None else format_instant(self.manifest.made_at)
        return digest({"head": self.head, "madeAt": made_at}, ("head", "madeAt"))


class Verdict(Enum):
    """What happens to a row, and why.

    These go: ``BOUNDARY``, deleted between the revisions; ``TOMBSTONE``, tombstoned; ``ORPHAN``,
    not in the manifest and ingested before it was made.

    These stay: ``IN_MANIFEST``, ``PUSHED``, deleted between the revisions, but there is a manifest
    that lists it, or it is part of this push; ``YOUNGER``, ``UNDATED``, not in the manifest, but
    not ingested before it was made, or without an instant of ingestion; ``UNAFFECTED``, no signal
    is about it.
    """

    BOUNDARY = "boundary"
    TOMBSTONE = "tombstone"
    ORPHAN = "orphan"
    IN_MANIFEST = "in-manifest"
    PUSHED = "pushed"
    YOUNGER = "younger-than-manifest"
    UNDATED = "undated"
    UNAFFECTED = "unaffected"

    @property
    def deletes(self) -> bool:
        """Whether the row goes."""
        return self in _DELETING


_DELETING: Final = frozenset({Verdict.BOUNDARY, Verdict.TOMBSTONE, Verdict.ORPHAN})


@frozen
class StoredFile:
    """As much of a stored row as a plan needs.

    Attributes:
        source_path: The row's file.
        ingested_at: Aware instant of its write; ``None`` where the row does not carry one.
    """

    source_path: str
    ingested_at: datetime | None


@frozen
class DeletionRules:
    """The signals of a push, reconciled: they judge every row by itself.

    Attributes:
        named: Verdict by path, for the paths that the boundary or a tombstone names.
        manifest: Judges all other paths, if there is one.
    """

    named: Mapping[str, Verdict] = field(hash=False)
    manifest: ManifestSnapshot | None

    def judge(self, file: StoredFile) -> Verdict:
        """What happens to a row of this file."""
        verdict = self.named.get(file.source_path)
        if verdict is not None:
            return verdict
        if self.manifest is None or file.source_path in self.manifest.paths:
            return Verdict.UNAFFECTED
        if file.ingested_at is None:
            return Verdict.UNDATED
        return Verdict.ORPHAN if file.ingested_at < self.manifest.made_at else Verdict.YOUNGER


@frozen
class PathVerdict:
    """What happens to the rows of one path; rows of different age may fare differently.

    Attributes:
        source_path: The path.
        verdict: What happens, and why.
        rows: How many rows.
    """

    source_path: str
    verdict: Verdict
    rows: int


@frozen
class DeletionPlan:
    """What goes, what stays, and why. Applying it is another step.

    Attributes:
        tenant_id: Owner of the repository.
        repo_slug: The only repository that the plan is about.
        rules: Judge the rows when the plan is applied.
        signals: What the client said. A plan holds no path but these, those that the client's own
            history gave, and those of rows that the client may read.
        known_digest: Of what was known of the repository when the plan was made.
        known_digest_after: Of what is known once the plan has been applied.
        paths: Every stored path that a signal is about, by path and verdict.
        unaffected: Stored rows that no signal is about.
    """

    tenant_id: str
    repo_slug: str
    rules: DeletionRules
    signals: DeletionSignals
    known_digest: str
    known_digest_after: str
    paths: tuple[PathVerdict, ...]
    unaffected: int

    @property
    def deleted(self) -> int:
        """How many rows go."""
        return sum(path.rows for path in self.paths if path.verdict.deletes)

    @property
    def kept(self) -> int:
        """How many rows stay although a signal is about them."""
        return sum(path.rows for path in self.paths if not path.verdict.deletes)


def boundary_in_force(signals: DeletionSignals, known: KnownState) -> RevisionBoundary | None:
    """The boundary whose deleted paths have to be found out; ``None`` where there is none to ask.

    A boundary holds if its base is the last known head. If its head is, it has been applied, for
    the head is recorded last: there is nothing left to ask. A manifest makes up for a boundary that
    does not hold.

    Raises:
        ManifestRequiredError: the boundary does not hold, and there is no manifest.
    """
    boundary = signals.boundary
    if boundary is None or boundary.head == known.head:
        return None
    if boundary.base is not None and boundary.base == known.head:
        return boundary
    if signals.manifest is not None:
        return None
    base = "no base" if boundary.base is None else f"base {shown(boundary.base)}"
    raise ManifestRequiredError(
        f"{base} is not the last known head, so the paths deleted since then cannot be told (the "
        "history was rewritten, or this is the first push). Nothing was deleted; send a manifest "
        "of all paths with the same head",
        remedy=Remedy.SEND_MANIFEST,
    )


def plan_deletions(
    tenant_id: str,
    repo_slug: str,
    signals: DeletionSignals,
    stored: Iterable[StoredFile],
    *,
    known: KnownState,
    deleted_between: Set[str] = frozenset(),
    pushed: Set[str] = frozenset(),
) -> DeletionPlan:
    """Decide about every stored row.

    Args:
        tenant_id: Owner of the repository.
        repo_slug: The repository that the signals were sent for.
        signals: What the client says.
        stored: The repository's rows, and no others, in any order. Read once, never held.
        known: What is known from earlier pushes.
        deleted_between: The paths deleted between the revisions of :func:`boundary_in_force`.
        pushed: The paths whose content is part of the same push.

    Raises:
        InvalidInputError: a signal is about another repository.
        DeletionConflictError: a path is tombstoned and in the manifest, or pushed and tombstoned,
            or pushed and not in the manifest.
        ManifestRequiredError: see :func:`boundary_in_force`.
        ManifestOutdatedError: a later manifest has been applied; this one may list a file as gone
            that has come back since, with rows that are older than both.
    """
    rules = deletion_rules(repo_slug, signals, known, deleted_between, pushed)
    rows: Counter[tuple[str, Verdict]] = Counter()
    unaffected = 0
    for file in stored:
        verdict = rules.judge(file)
        if verdict is Verdict.UNAFFECTED:
            unaffected += 1
        else:
            rows[file.source_path, verdict] += 1
    return DeletionPlan(
        tenant_id=tenant_id,
        repo_slug=repo_slug,
        rules=rules,
        signals=signals,
        known_digest=known.digest,
        known_digest_after=known.after(signals).digest,
        paths=tuple(
            PathVerdict(path, verdict, rows[path, verdict])
            for path, verdict in sorted(rows, key=lambda key: (key[0], key[1].value))
        ),
        unaffected=unaffected,
    )


def deletion_rules(
    repo_slug: str,
    signals: DeletionSignals,
    known: KnownState,
    deleted_between: Set[str] = frozenset(),
    pushed: Set[str] = frozenset(),
) -> DeletionRules:
    """Reconcile the signals of a push; arguments and errors are those of :func:`plan_deletions`."""
    _require_repository(repo_slug, signals)
    manifest = signals.manifest
    tombstoned = {tombstone.source_path for tombstone in signals.tombstones}
    _require_no_path(tombstoned & pushed, "tombstoned and part of the same push")
    if manifest is not None:
        _require_no_path(tombstoned & manifest.paths, "tombstoned and in the manifest")
        _require_no_path(pushed - manifest.paths, "part of the push and not in its manifest")
        if known.manifest is not None and manifest.made_at < known.manifest.made_at:
            raise ManifestOutdatedError(
                f"the manifest was made at {format_instant(manifest.made_at)}, and one of "
                f"{format_instant(known.manifest.made_at)} has been applied; nothing was deleted. "
                "List the files again"
            )
    listed = manifest.paths if manifest is not None else frozenset()
    named: dict[str, Verdict] = {}
    if boundary_in_force(signals, known) is not None:
        for path in deleted_between:
            named[path] = _expected(path, listed, pushed)
    for path in tombstoned:
        named.setdefault(path, Verdict.TOMBSTONE)
    return DeletionRules(named, manifest)


def _expected(path: str, listed: Set[str], pushed: Set[str]) -> Verdict:
    """What happens to a path that was deleted between the revisions."""
    if path in pushed:
        return Verdict.PUSHED
    return Verdict.IN_MANIFEST if path in listed else Verdict.BOUNDARY


def _require_repository(repo_slug: str, signals: DeletionSignals) -> None:
    named = {tombstone.repo_slug for tombstone in signals.tombstones}
    if signals.manifest is not None:
        named.add(signals.manifest.repo_slug)
    if others := sorted(named - {repo_slug}):
        raise InvalidInputError(
            f"the signals are about {shown(others[0])}, and were sent for {shown(repo_slug)}; "
            "nothing was deleted. Send the signals of each repository by themselves"
        )


def _require_no_path(paths: Collection[str], what: str) -> None:
    if paths:
        first = ", ".join(shown(path) for path in sorted(paths)[:_PATHS_SHOWN])
        more = f" and {len(paths) - _PATHS_SHOWN:,} more" if len(paths) > _PATHS_SHOWN else ""
        raise DeletionConflictError(
            f"paths are {what}: {first}{more}; nothing was deleted. Only the sender can tell which "
            "of the two is right"
        )
