"""What goes and what stays, for any signals and any stored rows."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import timedelta
from random import Random

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tenantkb.domain.deletion import (
    DeletionPlan,
    DeletionSignals,
    KnownState,
    ManifestSnapshot,
    RevisionBoundary,
    StoredFile,
    Tombstone,
    Verdict,
    boundary_in_force,
    plan_deletions,
    require_revision,
)
from tenantkb.domain.errors import (
    DeletionConflictError,
    InvalidInputError,
    ManifestOutdatedError,
    ManifestRequiredError,
)
from tenantkb.testing.samples import NOW

REPO = "app"
SECOND = timedelta(seconds=1)
PATHS = ("a.md", "b.md", "c/d.md", "e.md", "f.md")

paths = st.frozensets(st.sampled_from(PATHS))
revisions = st.sampled_from(["1", "2", "3"])
instants = st.sampled_from([NOW - SECOND, NOW, NOW + SECOND])
manifests = st.builds(ManifestSnapshot, st.just(REPO), paths, instants)
boundaries = st.builds(RevisionBoundary, revisions, st.none() | revisions)
stored_files = st.lists(st.builds(StoredFile, st.sampled_from(PATHS), st.none() | instants))
known_states = st.builds(KnownState, st.none() | revisions, st.none() | manifests)


def tombstones(gone: Collection[str], repo: str = REPO) -> tuple[Tombstone, ...]:
    return tuple(Tombstone(repo, path) for path in sorted(gone))


def signals_of(
    gone: tuple[Tombstone, ...] = (),
    manifest: ManifestSnapshot | None = None,
    boundary: RevisionBoundary | None = None,
) -> DeletionSignals:
    """The signals of one push; the order in which they came means nothing."""
    given = (boundary, *gone, manifest)
    return DeletionSignals(tuple(signal for signal in given if signal is not None))


all_signals = st.builds(
    signals_of,
    paths.map(tombstones),
    st.none() | manifests,
    st.none() | boundaries,
)


def plan(
    signals: DeletionSignals,
    stored: Collection[StoredFile] = (),
    known: KnownState | None = None,
    deleted_between: frozenset[str] = frozenset(),
    pushed: frozenset[str] = frozenset(),
) -> DeletionPlan:
    return plan_deletions(
        "acme",
        REPO,
        signals,
        stored,
        known=known or KnownState(),
        deleted_between=deleted_between,
        pushed=pushed,
    )


def planned(*arguments: object) -> DeletionPlan:
    """The plan of any drawn signals; draws that are refused say nothing about plans."""
    try:
        return plan(*arguments)  # type: ignore[arg-type] # drawn in the order of the parameters
    except InvalidInputError:
        assume(False)
        raise


def going(made: DeletionPlan, stored: Collection[StoredFile]) -> set[StoredFile]:
    return {file for file in stored if made.rules.judge(file).deletes}


@given(all_signals, stored_files, known_states, paths, paths)
def test_the_boundary_comes_first_tombstones_extend_it_and_the_manifest_reconciles(
    signals: DeletionSignals,
    stored: list[StoredFile],
    known: KnownState,
    deleted_between: frozenset[str],
    pushed: frozenset[str],
) -> None:
    made = planned(signals, stored, known, deleted_between, pushed)
    expected = deleted_between if boundary_in_force(signals, known) else frozenset()
    expected = expected - pushed
    expected = expected | {tombstone.source_path for tombstone in signals.tombstones}
    gone = {file for file in stored if file.source_path in expected}
    if (manifest := signals.manifest) is not None:
        gone = {file for file in gone if file.source_path not in manifest.paths}
        gone |= {
            file
            for file in stored
            if file.source_path not in manifest.paths | pushed
            and file.ingested_at is not None
            and file.ingested_at < manifest.made_at
        }
    assert going(made, stored) == gone


@given(all_signals, stored_files, known_states, paths)
def test_every_row_is_counted_once(
    signals: DeletionSignals,
    stored: list[StoredFile],
    known: KnownState,
    deleted_between: frozenset[str],
) -> None:
    made = planned(signals, stored, known, deleted_between)
    assert made.deleted == sum(made.rules.judge(file).deletes for file in stored)
    assert made.deleted + made.kept + made.unaffected == len(stored)
    assert {path.source_path for path in made.paths} <= {file.source_path for file in stored}


@given(all_signals, st.permutations(PATHS), known_states, paths, instants)
def test_the_order_of_the_rows_means_nothing(
    signals: DeletionSignals,
    shuffled: list[str],
    known: KnownState,
    deleted_between: frozenset[str],
    instant: object,
) -> None:
    stored = [StoredFile(path, instant) for path in PATHS]  # type: ignore[arg-type] # an instant
    again = [StoredFile(path, instant) for path in shuffled]  # type: ignore[arg-type] # the same
    made = planned(signals, stored, known, deleted_between)
    assert planned(signals, again, known, deleted_between) == made


@given(all_signals, stored_files, known_states, paths)
def test_after_a_plan_was_carried_out_the_same_signals_delete_nothing(
    signals: DeletionSignals,
    stored: list[StoredFile],
    known: KnownState,
    deleted_between: frozenset[str],
) -> None:
    made = planned(signals, stored, known, deleted_between)
    left = [file for file in stored if not made.rules.judge(file).deletes]
    again = plan(signals, left, known.after(signals), deleted_between)
    assert again.deleted == 0
    assert again.known_digest == again.known_digest_after == made.known_digest_after


@given(all_signals, stored_files, st.integers(0, 20), known_states, paths)
def test_an_interrupted_plan_is_finished_by_the_same_signals(
    signals: DeletionSignals,
    stored: list[StoredFile],
    done: int,
    known: KnownState,
    deleted_between: frozenset[str],
) -> None:
    made = planned(signals, stored, known, deleted_between)
    doomed = [file for file in stored if made.rules.judge(file).deletes]
    kept = [file for file in stored if not made.rules.judge(file).deletes]
    again = plan(signals, doomed[done:] + kept, known, deleted_between)
    assert again.deleted == len(doomed[done:])
    assert (again.known_digest, again.known_digest_after) == (
        made.known_digest,
        made.known_digest_after,
    )


@given(manifests, stored_files, known_states)
def test_a_manifest_alone_deletes_no_row_that_is_younger_or_of_unknown_age(
    manifest: ManifestSnapshot, stored: list[StoredFile], known: KnownState
) -> None:
    made = planned(DeletionSignals((manifest,)), stored, known)
    for file in going(made, stored):
        assert file.source_path not in manifest.paths
        assert file.ingested_at is not None
        assert file.ingested_at < manifest.made_at


@pytest.mark.parametrize(
    ("ingested_at", "verdict"),
    [
        (NOW - timedelta(milliseconds=1), Verdict.ORPHAN),
        (NOW, Verdict.YOUNGER),
        (NOW + SECOND, Verdict.YOUNGER),
        (None, Verdict.UNDATED),
    ],
)
def test_an_orphan_goes_only_if_it_was_ingested_before_the_manifest_was_made(
    ingested_at: object, verdict: Verdict
) -> None:
    file = StoredFile("a.md", ingested_at)  # type: ignore[arg-type] # an instant or None
    manifest = ManifestSnapshot(REPO, frozenset(), NOW + timedelta(microseconds=999))
    assert plan(DeletionSignals((manifest,))).rules.judge(file) is verdict


@given(all_signals, stored_files, known_states, st.sampled_from(PATHS))
def test_a_signal_about_another_repository_is_refused_with_all_others(
    signals: DeletionSignals, stored: list[StoredFile], known: KnownState, path: str
) -> None:
    foreign = DeletionSignals((*signals.signals, Tombstone("other", path)))
    with pytest.raises(InvalidInputError, match=r"'other'.*'app'; nothing was deleted"):
        plan(foreign, stored, known)
    manifest = ManifestSnapshot("other", frozenset({path}), NOW)
    with pytest.raises(InvalidInputError, match=r"'other'.*'app'; nothing was deleted"):
        plan(signals_of(signals.tombstones, manifest, signals.boundary), stored, known)


@given(all_signals, stored_files, known_states, paths, paths)
def test_contradictions_are_errors_and_nothing_else_is_a_conflict(
    signals: DeletionSignals,
    stored: list[StoredFile],
    known: KnownState,
    deleted_between: frozenset[str],
    pushed: frozenset[str],
) -> None:
    gone = {tombstone.source_path for tombstone in signals.tombstones}
    listed = signals.manifest.paths if signals.manifest else frozenset(PATHS)
    contradictory = bool(gone & pushed or (signals.manifest and gone & listed) or pushed - listed)
    try:
        plan(signals, stored, known, deleted_between, pushed)
    except DeletionConflictError:
        assert contradictory
    except (ManifestRequiredError, ManifestOutdatedError):
        pass
    else:
        assert not contradictory


def test_a_conflict_names_the_first_paths_and_counts_the_others() -> None:
    gone = {f"{number}.md" for number in range(1, 10)}
    manifest = ManifestSnapshot(REPO, frozenset(gone), NOW)
    with pytest.raises(DeletionConflictError) as caught:
        plan(signals_of(tombstones(gone), manifest))
    assert str(caught.value).startswith(
        "paths are tombstoned and in the manifest: '1.md', '2.md', '3.md', '4.md', '5.md' and 4 "
        "more; nothing was deleted"
    )


@given(boundaries, st.none() | manifests, st.none() | revisions)
def test_a_base_that_is_not_the_known_head_needs_a_manifest(
    boundary: RevisionBoundary, manifest: ManifestSnapshot | None, head: str | None
) -> None:
    signals = signals_of((), manifest, boundary)
    applied = boundary.head == head
    holds = boundary.base is not None and boundary.base == head and not applied
    if manifest is None and not applied and not holds:
        with pytest.raises(ManifestRequiredError, match="manifest"):
            plan(signals, known=KnownState(head))
    else:
        in_force = boundary_in_force(signals, KnownState(head))
        assert in_force == (boundary if holds else None)
        after = plan(signals, known=KnownState(head)).known_digest_after
        assert after == KnownState(boundary.head, manifest).digest


def test_a_manifest_that_is_older_than_an_applied_one_is_refused() -> None:
    known = KnownState(manifest=ManifestSnapshot(REPO, frozenset(), NOW))
    older = ManifestSnapshot(REPO, frozenset(), NOW - timedelta(milliseconds=1))
    with pytest.raises(ManifestOutdatedError, match=r"2026-01-31T09:29:59\.999Z"):
        plan(DeletionSignals((older,)), known=known)
    assert plan(signals_of(manifest=known.manifest), known=known).deleted == 0


@pytest.mark.parametrize(
    ("twice", "told"),
    [
        (ManifestSnapshot(REPO, frozenset(), NOW), "two manifests"),
        (RevisionBoundary("1"), "two boundaries"),
    ],
)
def test_one_push_has_one_manifest_and_one_boundary(
    twice: ManifestSnapshot | RevisionBoundary, told: str
) -> None:
    for signals in ((twice, twice), (Tombstone(REPO, "a.md"), twice, attrs.evolve(twice))):
        with pytest.raises(DeletionConflictError, match=told):
            DeletionSignals(signals)


@given(all_signals, st.randoms())
def test_the_order_of_the_signals_means_nothing(signals: DeletionSignals, random: Random) -> None:
    shuffled = list(signals.signals)
    random.shuffle(shuffled)
    again = DeletionSignals(tuple(shuffled))
    assert set(again.tombstones) == set(signals.tombstones)
    assert (again.manifest, again.boundary) == (signals.manifest, signals.boundary)


@given(known_states, known_states)
def test_a_digest_tells_two_states_apart_and_nothing_of_their_paths(
    left: KnownState, right: KnownState
) -> None:
    """Fails: whoever may not see a file's rows tells from a plan that there is such a file."""

    def visible(known: KnownState) -> tuple[object, object]:
        return known.head, known.manifest and known.manifest.made_at

    assert (left.digest == right.digest) is (visible(left) == visible(right))
    assert re.fullmatch("[0-9a-f]{64}", left.digest)


@given(all_signals, stored_files, known_states, paths)
def test_a_plan_holds_no_path_but_the_signalled_and_the_stored(
    signals: DeletionSignals,
    stored: list[StoredFile],
    known: KnownState,
    deleted_between: frozenset[str],
) -> None:
    made = planned(signals, stored, known, deleted_between)
    secret = ManifestSnapshot(REPO, frozenset({"of/another/agent.md"}), NOW - SECOND)
    hidden = planned(signals, stored, attrs.evolve(known, manifest=secret), deleted_between)
    assert "of/another/agent.md" not in repr(hidden)
    assert {path.source_path for path in made.paths} <= {file.source_path for file in stored}


@given(all_signals, known_states)
def test_what_no_signal_tells_stays_known(signals: DeletionSignals, known: KnownState) -> None:
    after = known.after(signals)
    assert after.head == (signals.boundary.head if signals.boundary else known.head)
    assert after.manifest == (signals.manifest or known.manifest)


@pytest.mark.parametrize("revision", ["HEAD~1", "a" * 40, "refs/heads/x", "+x", "~", "a" * 256])
def test_a_revision_is_short_printable_ascii(revision: str) -> None:
    assert require_revision(revision) == revision


@pytest.mark.parametrize("revision", ["", "-x", "--all", "a b", "a\n", "é", "a" * 257, None, 3])
def test_what_a_version_control_system_could_take_for_an_option_is_no_revision(
    revision: object,
) -> None:
    with pytest.raises(InvalidInputError):
        require_revision(revision)
