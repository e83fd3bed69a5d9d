"""Backups: what a record says about a row, the files, and restoring all of them or nothing."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import define, evolve, field
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tenantkb import schemas
from tenantkb.adapters.embedders.hashing import HashingEmbedder
from tenantkb.adapters.files.backups import LocalBackupFiles, manifest_path
from tenantkb.adapters.files.jsonl import LINE_LENGTH
from tenantkb.adapters.stores.memory import MemoryEngine
from tenantkb.application.operating.backup import RestoreMode, RestoreReport, RestoreRequest
from tenantkb.domain.backup import Adoption, Manifest, Tally, exported, restorable
from tenantkb.domain.derivation import derived_id, fingerprint, settled
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import (
    AccessDeniedError,
    AuthenticationError,
    InvalidInputError,
    InvalidSubmissionError,
    Remedy,
    StoreError,
    StoreMismatchError,
)
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.domain.paths import RootKind
from tenantkb.domain.rows import StampedRow, stamped_row
from tenantkb.domain.stamps import SharedNamespace, TenantStamp, Visibility, stamp_of
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.engine import RawRow, Vector
from tenantkb.testing.composition import Application, TickingClock, compose
from tenantkb.testing.samples import (
    NAMESPACE,
    NOW,
    Passing,
    StoppedClock,
    fill,
    keyed,
    raw,
    row,
    writing,
)
from tests.strategies import AGENTS, REPOS, TENANTS

OLGA = AgentIdentity("ops", "olga", frozenset({Role.OPERATOR}))
CURATOR = AgentIdentity("neo-shared", "cora", frozenset({Role.OPERATOR, Role.CURATOR}))
EMBEDDER = HashingEmbedder(4)
COLLECTION = "knowledge-base"
ADOPTION = Adoption("acme", "client-org/main-app")
LEGACY: dict[str, Any] = {"type": "guide", "name": "N", "content": "C", "source": "a.md"}
"""Metadata as the JavaScript system writes it: no stamp, the text in ``content``."""

texts = st.text(st.characters(codec="utf-8"), max_size=8)
values = (
    texts
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0)
)
json_values = st.recursive(
    st.none() | values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner)
)
singles = st.floats(width=32, allow_nan=False, allow_infinity=False)
names = st.recursive(
    texts | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)


@st.composite
def written_rows(draw: st.DrawFn) -> tuple[StampedRow, ChunkId]:
    """A row of whatever chunk, owner and audience, and the id that it would have as the team's."""
    chunk = {
        "content": draw(texts),
        "name": draw(names),
        draw(st.sampled_from(["type", "kind"])): draw(texts),
        "source": draw(st.sampled_from(["a.md", "b/c.md"])),
        **draw(st.dictionaries(st.text("defgh", min_size=1, max_size=3), values, max_size=4)),
        **draw(st.fixed_dictionaries({}, optional={"document": texts})),
    }
    where = (
        draw(st.sampled_from(TENANTS)),
        draw(st.sampled_from(AGENTS)),
        draw(st.sampled_from(REPOS)),
    )
    mine, teams = (
        stamped_row(chunk, writing(*where, visibility), RootKind.BARE_REPO)
        for visibility in (draw(st.sampled_from(Visibility)), Visibility.TEAM)
    )
    return mine, teams.id


stored_rows = written_rows().map(lambda written: written[0])


def team(name: str, tenant: str = "acme", **more: Any) -> StampedRow:
    """A team row."""
    return row(writing(tenant), name, **more)


def private(name: str, agent: str = "ada") -> StampedRow:
    return row(writing("acme", agent, visibility=Visibility.PRIVATE), name)


OLD_ID = team("N").id
"""Of everybody's row ``N`` in format 1, in whose ids no agent took part."""


def own_id(
    row_id: ChunkId, metadata: Mapping[str, Any], stamp: TenantStamp, namespace: SharedNamespace
) -> ChunkId | None:
    found = settled(row_id, metadata, stamp, namespace)
    return None if found is None else found.id


def record(row_id: str, metadata: Mapping[str, Any], *numbers: float) -> dict[str, Any]:
    vector = list(numbers or (0.5, 0.5, -0.5, 0.5))
    return {"id": row_id, "embedding": vector, "metadata": dict(metadata), "document": None}


def record_of(given_row: StampedRow, *numbers: float, **changes: Any) -> dict[str, Any]:
    """The record of a row, with other metadata where they are given."""
    return record(given_row.id, {**given_row.metadata(), **changes}, *numbers)


def restored(
    metadata: Mapping[str, Any], adoption: Adoption | None = None, row_id: str = "x", **how: Any
) -> StampedRow:
    return restorable(ChunkId(row_id), metadata, None, adoption, NOW, NAMESPACE, **how).row


# What a record says about a row


@given(stored_rows)
def test_a_row_that_was_exported_is_restored_as_it_was(stored: StampedRow) -> None:
    metadata, document = exported(stored.metadata())
    assert list(metadata) == sorted(metadata)
    made = restorable(stored.id, metadata, document, ADOPTION, NOW, NAMESPACE)
    assert made.row == stored
    assert not made.adopted
    assert made.is_stored_as(stored.metadata())


@given(stored_rows, json_values)
def test_a_restored_row_gets_the_label_of_its_stamp_whatever_label_it_brings(
    stored: StampedRow, label: Any
) -> None:
    metadata, document = exported({**stored.metadata(), "access": label})
    made = restorable(stored.id, metadata, document, None, NOW, NAMESPACE)
    assert made.row.metadata()["access"] == stored.stamp.label


@given(written_rows())
def test_a_row_tells_its_own_id_and_knows_that_of_format_1(
    written: tuple[StampedRow, ChunkId],
) -> None:
    stored, old_id = written
    assert own_id(stored.id, stored.metadata(), stored.stamp, NAMESPACE) == stored.id
    settled = own_id(old_id, stored.metadata(), stored.stamp, NAMESPACE)
    if old_id == stored.fields["hash"]:  # which does not tell whether the name was text
        assert settled is not None
    else:
        assert settled == stored.id
    for foreign in ("x", stored.id[:-1], stored.id + "0"):
        assert own_id(ChunkId(foreign), stored.metadata(), stored.stamp, NAMESPACE) is None


@given(written_rows(), st.sampled_from(AGENTS))
def test_nobodys_private_id_is_anothers(written: tuple[StampedRow, ChunkId], agent: str) -> None:
    stored, old_id = written
    stamp = evolve(stored.stamp, visibility=Visibility.PRIVATE, origin_agent_identity=agent)
    theirs = own_id(old_id, stored.metadata(), stamp, NAMESPACE)
    assert theirs is not None
    owned = own_id(theirs, stored.metadata(), stored.stamp, NAMESPACE)
    assert owned == (theirs if stored.stamp == stamp else None)


@pytest.mark.parametrize(
    "changes",
    [
        {"hash": None},
        {"hash": ""},
        {"hash": 7},
        {"hash": "0" * 64},
        {"sourcePath": "b.md"},
        {"sourcePath": None},
        {"name": "M"},
        {"type": "other"},
        {"tenantId": "beta"},
        {"repoSlug": "other"},
    ],
)
def test_an_id_that_is_not_derived_from_its_row_is_foreign(changes: dict[str, Any]) -> None:
    stored = team("N")
    metadata = {**stored.metadata(), **changes}
    with pytest.raises(InvalidInputError) as refused:
        restored(metadata, row_id=stored.id)
    assert refused.value.remedy == Remedy.ALLOW_FOREIGN_IDS
    if isinstance(metadata["sourcePath"], str) and isinstance(metadata["hash"], str):
        made = restored(metadata, row_id=stored.id, foreign_ids=True)
        assert (made.id, made.metadata()["tenantId"]) == (stored.id, metadata["tenantId"])


def test_a_foreign_id_that_is_allowed_is_kept_and_an_old_one_is_settled_all_the_same() -> None:
    stored = private("N")
    assert restored(stored.metadata(), row_id="x", foreign_ids=True).id == "x"
    assert restored(stored.metadata(), row_id=OLD_ID, foreign_ids=True) == stored


def test_private_rows_of_two_agents_that_had_one_id_become_two_rows() -> None:
    first, second = private("N", "ada"), private("N", "bob")
    made = [restored(each.metadata(), row_id=OLD_ID) for each in (first, second)]
    assert made == [first, second]
    assert made[0].key != made[1].key
    assert made[0].id != made[1].id


@pytest.mark.parametrize("depth", [1, 50, 600, 100_000])
def test_a_name_that_reads_like_nested_json_is_no_end_of_anything(depth: int) -> None:
    """Fails: one row of one tenant breaks off the export of all."""
    stored = team("[" * depth + "]" * depth)
    assert own_id(stored.id, stored.metadata(), stored.stamp, NAMESPACE) == stored.id
    assert own_id(ChunkId("x"), stored.metadata(), stored.stamp, NAMESPACE) is None


@given(st.dictionaries(texts | st.sampled_from(sorted(team("x").metadata())), json_values))
@example({**LEGACY, "tenantId": "ACME", "repoSlug": "app", "visibility": "team"})
@example({**LEGACY, "visibility": "team"})
@example({**LEGACY, "name": None, "type": None, "kind": 3})
@example({**LEGACY, "source": "../a.md"})
def test_an_adopted_row_is_its_new_owners_or_refused(metadata: dict[str, Any]) -> None:
    """Fails: something of a malformed stamp survives, or a value ends in another error."""
    try:
        made = restorable(ChunkId("x"), metadata, None, ADOPTION, NOW, NAMESPACE)
    except InvalidInputError:
        return
    if made.adopted:
        stamp = stamp_of(made.row.metadata())
        assert (stamp.tenant_id, stamp.repo_slug) == ("acme", "client-org/main-app")
        assert made.row.key.label == "team:acme"
        assert isinstance(made.row.fields["content"], str)
        assert own_id(made.row.id, made.row.metadata(), stamp, NAMESPACE) == made.row.id


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"visibility": "public"},
        {"tenantId": ["acme"]},
        {"repoSlug": "a b"},
        {"visibility": "private"},
        {"visibility": "private", "originAgentIdentity": ""},
    ],
)
def test_without_being_asked_nothing_is_adopted(bad: dict[str, Any]) -> None:
    metadata = {**team("N").metadata(), **bad} if bad else LEGACY
    for foreign_ids in (False, True):
        with pytest.raises(InvalidInputError, match="tenant stamp") as refused:
            restored(metadata, foreign_ids=foreign_ids)
        assert refused.value.remedy == Remedy.ADOPT_ROWS
    assert restored(metadata, ADOPTION).stamp.repo_slug == "client-org/main-app"


def test_an_adopted_javascript_row_is_a_row_as_a_sync_writes_it() -> None:
    legacy = {**LEGACY, "line_start": 3, "hash": "h", "className": "null", "params": "[1]"}
    made = restored(legacy, ADOPTION)
    stamp = TenantStamp("acme", "client-org/main-app", Visibility.TEAM, ingested_at=NOW)
    assert made.id == derived_id(LEGACY, "h", "a.md", stamp, NAMESPACE)
    assert made.metadata() == {
        "type": "guide",
        "name": "N",
        "content": "C",
        "line_start": 3,
        "params": "[1]",
        "hash": "h",
        "rootKind": "neo-workspace",
        "sourcePath": "a.md",
        "tenantId": "acme",
        "repoSlug": "client-org/main-app",
        "visibility": "team",
        "ingestedAt": "2026-01-31T09:30:00.000Z",
        "access": "team:acme",
    }
    shared = restored(legacy, Adoption("neo-shared", "neo"))
    assert shared.id == "h", "the shared corpus keeps its ids"


def test_the_text_of_an_adopted_row_may_lie_in_its_document() -> None:
    metadata = {"type": "guide", "source": "a.md"}
    made = restorable(ChunkId("x"), metadata, "text", ADOPTION, NOW, NAMESPACE).row
    assert (made.fields["content"], made.fields["name"]) == ("text", "a.md")
    assert made.fields["document"] == "text"
    with pytest.raises(InvalidInputError, match="text in content"):
        restored(metadata, ADOPTION)


@pytest.mark.parametrize("bad", ["", 5, True])
def test_a_row_without_a_hash_or_a_path_has_no_id_of_its_own(bad: Any) -> None:
    stored = team("N")
    metadata = {**stored.metadata(), "hash": bad}
    as_if = derived_id(metadata, bad, "a.md", stored.stamp, NAMESPACE)
    assert own_id(as_if, metadata, stored.stamp, NAMESPACE) is None
    metadata = {**stored.metadata(), "sourcePath": 5}
    as_if = derived_id(metadata, str(metadata["hash"]), 5, stored.stamp, NAMESPACE)  # type: ignore[arg-type]
    assert own_id(as_if, metadata, stored.stamp, NAMESPACE) is None


@pytest.mark.parametrize(
    ("said", "type_"),
    [({"kind": "method"}, "method"), ({}, "unknown"), ({"kind": 5}, "unknown")],
)
def test_an_adopted_row_without_a_type_has_its_kind_for_one(
    said: dict[str, Any], type_: str
) -> None:
    without = {key: value for key, value in LEGACY.items() if key != "type"}
    assert restored({**without, **said}, ADOPTION).fields["type"] == type_


@pytest.mark.parametrize("claimed", ["", 5, True, None, ["h"], "\ud800"])
def test_an_adopted_row_without_a_hash_gets_its_own(claimed: object) -> None:
    made = restored({**LEGACY, "hash": claimed}, ADOPTION)
    assert made.fields["hash"] == fingerprint(LEGACY)
    assert made == restored(LEGACY, ADOPTION)


def test_what_is_called_a_document_and_is_no_text_is_a_field() -> None:
    made = restored({**LEGACY, "document": 5}, ADOPTION)
    assert "document" not in made.fields
    stored = team("N", document=5)
    assert restored(stored.metadata(), row_id=stored.id) == stored
    with pytest.raises(InvalidInputError, match="beside metadata"):
        restorable(stored.id, stored.metadata(), "text", None, NOW, NAMESPACE)


@pytest.mark.parametrize("beside", [None, "text"])
def test_a_document_has_one_place(beside: str | None) -> None:
    stored = team("N", document="within")
    with pytest.raises(InvalidInputError, match="beside metadata"):
        restorable(stored.id, stored.metadata(), beside, None, NOW, NAMESPACE)


def test_an_adoption_names_a_tenant_and_a_repository() -> None:
    for tenant, repo in (("", "app"), ("ACME", "app"), ("acme", ""), ("acme", "a b")):
        with pytest.raises(InvalidInputError):
            Adoption(tenant, repo)


def test_the_instant_of_an_adoption_is_no_difference_and_a_type_is_one() -> None:
    earlier = "2020-01-01T00:00:00.000Z"
    made = restorable(ChunkId("x"), {**LEGACY, "n": 1}, None, ADOPTION, NOW, NAMESPACE)
    assert made.is_stored_as({**made.row.metadata(), "ingestedAt": earlier})
    for other in ({"n": 1.0}, {"n": True}, {"more": 1}):
        assert not made.is_stored_as({**made.row.metadata(), **other})
    stored = team("N")
    kept = restorable(stored.id, stored.metadata(), None, None, NOW, NAMESPACE)
    assert kept.is_stored_as(stored.metadata())
    assert not kept.is_stored_as({**stored.metadata(), "ingestedAt": earlier})


@given(st.lists(st.tuples(st.sampled_from([*TENANTS, None]), st.booleans())))
def test_a_manifest_counts_every_record_once(counted: list[tuple[str | None, bool]]) -> None:
    tally = Tally(NAMESPACE)
    for owner, foreign in counted:
        stored = team("N", owner or "acme")
        metadata = LEGACY if owner is None else stored.metadata()
        tally.add(ChunkId("x") if foreign else stored.id, metadata)
    owners = [owner for owner, _ in counted]
    manifest = tally.manifest(EMBEDDER.profile, "0" * 64)
    assert manifest.records == len(counted)
    assert manifest.unstamped == owners.count(None)
    assert manifest.tenants == {
        name: owners.count(name) for name in sorted(set(filter(None, owners)))
    }
    assert manifest.foreign_ids == sum(owner is not None and odd for owner, odd in counted)
    assert tally.agrees_with(manifest)
    assert tally.agrees_with(evolve(manifest, foreign_ids=None)), "format 1 does not count them"
    for wrong in (
        {"records": manifest.records + 1},
        {"unstamped": manifest.unstamped + 1},
        {"foreign_ids": (manifest.foreign_ids or 0) + 1},
        {"tenants": {**manifest.tenants, "more": 1}},
    ):
        assert not tally.agrees_with(evolve(manifest, **wrong))


odd_numbers = st.sampled_from([True, "1", None, 10**400, -(10**39), 3.5e38, 1e-400])
embeddings = st.lists(singles | st.integers() | odd_numbers, max_size=3) | json_values


@given(
    st.fixed_dictionaries(
        {
            "id": texts | json_values,
            "embedding": embeddings,
            "metadata": st.dictionaries(texts, json_values, max_size=2) | json_values,
        },
        optional={"document": st.none() | texts | json_values, "more": st.none()},
    )
    | json_values
)
@example(record("x", {}))
@example(record("x", {}, 3.4028235e38, -3.4028235e38))
@example(record("x", {}, 3.4028236e38))
def test_the_fast_check_of_a_record_agrees_with_the_reference(given_record: Any) -> None:
    reference = Draft202012Validator(json.loads(schemas.text("backup-record-v1")))
    assert (schemas.problems("backup-record-v1", 1, given_record) == []) is (
        reference.is_valid(given_record)
    )


# Files


def draft(path: Path, vectors: Vectors) -> Manifest:
    """A published backup."""
    with LocalBackupFiles().draft(path) as part:
        tally = Tally(NAMESPACE)
        for number, vector in enumerate(vectors):
            stored = team(f"N{number}")
            tally.add(stored.id, stored.metadata())
            part.add({**record_of(stored), "embedding": vector})
        manifest = tally.manifest(EmbedderProfile("e", vectors.shape[1]), part.sha256())
        part.publish(manifest)
    return manifest


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(singles, min_size=1, max_size=6))
@example([7.0385307e-26, -7.0385307e-26, 7.0385313e-26, 0.1])
@example([3.4028234663852886e38, 1.401298464324817e-45, -0.0])
def test_numbers_of_single_precision_are_read_back_bit_by_bit(
    tmp_path: Path, numbers: list[float]
) -> None:
    written = np.array([numbers], np.float32)
    manifest = draft(tmp_path / "b", written)
    with LocalBackupFiles().open(tmp_path / "b") as backup:
        assert backup.manifest == manifest
        assert backup.sha256() == manifest.sha256
        [(line, read)] = backup.records()
    assert line == 1
    assert isinstance(read, dict)
    assert np.array([read["embedding"]], np.float32).tobytes() == written.tobytes()


def test_a_draft_that_fails_leaves_the_earlier_backup_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "b"
    draft(path, np.ones((1, 2), np.float32))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with suppress(StoreError), LocalBackupFiles().draft(path) as part:
        part.add({**record("x", {}), "embedding": np.ones(2, np.float32)})
        raise StoreError("the server went away")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_backup_is_for_nobody_but_its_owner_to_read(tmp_path: Path) -> None:
    draft(tmp_path / "b", np.ones((1, 2), np.float32))
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert modes == {"b": 0o600, "b.manifest.json": 0o600}


def test_a_manifest_tells_its_format_how_ids_are_derived_and_how_many_are_not(
    tmp_path: Path,
) -> None:
    manifest = draft(tmp_path / "b", np.ones((2, 2), np.float32))
    assert json.loads(manifest_path(tmp_path / "b").read_text()) == {
        "formatVersion": "2.0.0",
        "records": 2,
        "tenants": {"acme": 2},
        "unstamped": 0,
        "ids": "content",
        "foreignIds": 0,
        "embedder": "e",
        "dimension": 2,
        "distance": "cosine",
        "sha256": manifest.sha256,
    }


def test_a_manifest_of_format_1_is_read_and_counts_no_foreign_ids(tmp_path: Path) -> None:
    manifest = draft(tmp_path / "b", np.ones((2, 2), np.float32))
    path = manifest_path(tmp_path / "b")
    first = {**json.loads(path.read_text()), "formatVersion": "1.0.0"}
    del first["ids"], first["foreignIds"]
    path.write_text(json.dumps(first))
    with LocalBackupFiles().open(tmp_path / "b") as backup:
        assert backup.manifest == evolve(manifest, foreign_ids=None)


def test_what_a_killed_export_left_behind_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "b"
    (tmp_path / ".b.part").write_bytes(b"half a rec")
    draft(path, np.ones((2, 2), np.float32))
    assert {file.name for file in tmp_path.iterdir()} == {"b", "b.manifest.json"}
    with LocalBackupFiles().open(path) as backup:
        assert [line for line, _ in backup.records()] == [1, 2]


def test_two_exports_to_one_name_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "b"
    with LocalBackupFiles().draft(path):
        with pytest.raises(InvalidInputError, match="another process"):
            draft(path, np.ones((1, 2), np.float32))
        assert (tmp_path / ".b.part").exists()


def test_an_export_does_not_remove_the_part_of_the_next_one(tmp_path: Path) -> None:
    """Fails: cleaning up goes by the name, which another process may bear by then."""
    path = tmp_path / "b"
    with LocalBackupFiles().draft(path) as part:
        part.publish(Tally(NAMESPACE).manifest(EMBEDDER.profile, part.sha256()))
        (tmp_path / ".b.part").write_bytes(b"another's")
    assert (tmp_path / ".b.part").read_bytes() == b"another's"


THIRD = json.dumps(
    {**json.loads(schemas.text("backup-manifest-v1"))["examples"][0], "formatVersion": "3.0.0"}
)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", "\x00", "[" * 100_000, '{"formatVersion": "2.0.0"}', THIRD],
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "b"
    draft(path, np.ones((1, 2), np.float32))
    manifest_path(path).write_text(text)
    with pytest.raises(InvalidInputError, match="is not a manifest"), LocalBackupFiles().open(path):
        pass


def test_places_that_cannot_be_written_or_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot read"):
        LocalBackupFiles().open(tmp_path / "nothing").__enter__()
    with pytest.raises(InvalidInputError, match="cannot write"):
        LocalBackupFiles().draft(tmp_path / "nowhere" / "b").__enter__()


def test_what_is_no_ordinary_file_is_never_replaced(tmp_path: Path) -> None:
    """Fails: renaming over a device, pipe or link, such as ``/dev/stdout``, removes it."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(tmp_path / "nothing")
    for path in (pipe, link):
        with pytest.raises(InvalidInputError, match="no ordinary file"):
            draft(path, np.ones((1, 2), np.float32))
    assert {file.name for file in tmp_path.iterdir()} == {"pipe", "link"}
    assert pipe.is_fifo()
    assert link.is_symlink()


def test_the_row_of_the_longest_chunk_is_restored(tmp_path: Path) -> None:
    path = tmp_path / "b"
    with LocalBackupFiles().draft(path) as part:
        vector = np.ones(2, np.float32)
        part.add({**record("x", {"content": "x" * LINE_LENGTH}), "embedding": vector})
        part.publish(Tally(NAMESPACE).manifest(EMBEDDER.profile, part.sha256()))
    with LocalBackupFiles().open(path) as backup:
        [(_, read)] = backup.records()
    assert isinstance(read, dict)
    assert len(read["metadata"]["content"]) == LINE_LENGTH


# Use cases


class FailingEngine(MemoryEngine):
    """Fails at a batch when told to, as a killed process does: between two of them."""

    def __init__(self) -> None:
        super().__init__()
        self.batches_left = 10**9
        self.records_left = 10**9

    def put(self, rows: Sequence[RawRow], vectors: Vectors, *, exact: bool) -> None:
        if self.batches_left == 0:
            raise StoreError("the server went away")
        self.batches_left -= 1
        super().put(rows, vectors, exact=exact)

    def export(self, after: RowKey | None = None) -> Iterator[tuple[RawRow, Vector]]:
        for number, found in enumerate(super().export(after)):
            if number == self.records_left:
                raise StoreError("the server went away")
            yield found


@define
class Place:
    """A store in memory, and the operator's use cases over it."""

    folder: Path
    engine: FailingEngine = field(factory=FailingEngine)
    clock: TickingClock | StoppedClock = field(factory=TickingClock)
    app: Application = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.use(EMBEDDER)

    def use(self, embedder: HashingEmbedder) -> None:
        self.app = compose(
            self.engine, self.folder, embedder=embedder, clock=self.clock, batch_size=3
        )

    def export(self, who: AgentIdentity | None = OLGA, name: str = "b") -> Manifest:
        return self.app.knowledge_base.export(self.app.context(who), self.folder / name)

    def restore(
        self, who: AgentIdentity | None = OLGA, name: str = "b", **how: Any
    ) -> RestoreReport:
        request = RestoreRequest(self.folder / name, **how)
        return self.app.knowledge_base.restore(self.app.context(who), request)

    def truncate(self, who: AgentIdentity | None = OLGA, confirm: str | None = COLLECTION) -> int:
        return self.app.knowledge_base.truncate(self.app.context(who), confirm)

    def lines(self, *records: object, name: str = "b") -> None:
        """Write a backup without a manifest; strings go in as they are."""
        texts = [each if isinstance(each, str) else json.dumps(each) for each in records]
        (self.folder / name).write_text("".join(text + "\n" for text in texts))
        manifest_path(self.folder / name).unlink(missing_ok=True)

    def rows(self) -> dict[RowKey, tuple[Mapping[str, Any], bytes]]:
        return {
            stored.key: (stored.metadata, vector.tobytes())
            for stored, vector in self.engine.export()
        }


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Place:
    """Another store, and the same folder."""
    return Place(tmp_path)


SEVEN = [team(f"N{number}", TENANTS[number % 2]) for number in range(7)]


@pytest.fixture
def seven(place: Place) -> Place:
    """Seven rows of two tenants, and a backup of them."""
    vectors = np.array([[number, 0, 0, 1] for number in range(7)], np.float32)
    place.engine.bind(EMBEDDER.profile)
    place.engine.put([raw(each) for each in SEVEN], vectors, exact=True)
    place.export()
    return place


def counts(report: RestoreReport) -> tuple[int, int, int, int, int]:
    return report.added, report.updated, report.unchanged, report.deleted, report.adopted


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    st.lists(
        st.tuples(stored_rows, st.booleans(), st.lists(singles, min_size=4, max_size=4)),
        max_size=8,
        unique_by=lambda drawn: drawn[0].key,
    )
)
def test_an_export_restored_elsewhere_gives_the_same_rows_and_the_same_bytes(
    tmp_path: Path, drawn: list[tuple[StampedRow, bool, list[float]]]
) -> None:
    """Fails: rows with foreign ids are exported, and refused by the next restore."""
    first, second = Place(tmp_path), Place(tmp_path)
    rows = [
        evolve(each, id=ChunkId(f"foreign {number}")) if foreign else each
        for number, (each, foreign, _) in enumerate(drawn)
    ]
    if rows:
        first.engine.bind(EMBEDDER.profile)
        vectors = np.array([numbers for _, _, numbers in drawn], np.float32)
        first.engine.put([raw(each) for each in rows], vectors, exact=True)
    manifest = first.export()
    assert manifest.records == len(rows)
    assert manifest.foreign_ids == sum(foreign for _, foreign, _ in drawn)
    report = second.restore(CURATOR)
    assert report == RestoreReport(len(rows), 0, 0, 0, 0, verified=True)
    assert second.rows() == first.rows()
    assert second.export(name="c") == manifest
    assert (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


NO_OPERATORS = {
    "nobody": (None, AuthenticationError),
    "an agent": (AgentIdentity("acme", "ada"), AccessDeniedError),
    "a curator": (
        AgentIdentity("neo-shared", "cora", frozenset({Role.CURATOR})),
        AccessDeniedError,
    ),
    "an expired operator": (evolve(OLGA, expires_at=NOW), AuthenticationError),
}


@pytest.mark.parametrize(("who", "error"), NO_OPERATORS.values(), ids=NO_OPERATORS)
def test_only_an_operator_exports_restores_and_truncates(
    seven: Place, who: AgentIdentity | None, error: type[Exception]
) -> None:
    before = seven.rows()
    attempts: list[Callable[[], object]] = [
        lambda: seven.export(who, "c"),
        lambda: seven.restore(who),
        lambda: seven.truncate(who),
    ]
    for attempt in attempts:
        with pytest.raises(error):
            attempt()
    assert seven.rows() == before
    assert not (seven.folder / "c").exists()


def test_a_restore_that_was_interrupted_is_finished_by_the_same_call(
    seven: Place, elsewhere: Place
) -> None:
    """Fails: rows that are there already are written again, or the rest is not."""
    elsewhere.engine.batches_left = 1
    with pytest.raises(StoreError):
        elsewhere.restore()
    assert len(elsewhere.rows()) == 3
    elsewhere.engine.batches_left = 2
    assert counts(elsewhere.restore()) == (4, 0, 3, 0, 0)
    assert elsewhere.rows() == seven.rows()
    assert counts(elsewhere.restore()) == (0, 0, 7, 0, 0)


def test_a_restore_that_was_admitted_in_time_finishes_within_its_time(tmp_path: Path) -> None:
    clock = StoppedClock()
    place = Place(tmp_path, clock=clock)
    place.app.container.job_seconds.override(60.0)
    place.lines(record_of(SEVEN[0]))
    context = place.app.context(evolve(OLGA, expires_at=NOW + timedelta(seconds=1)))
    restore, request = place.app.knowledge_base.restore, RestoreRequest(tmp_path / "b")
    with pytest.raises(AuthenticationError, match="expired"):
        restore(context, request, Passing(clock, 60))
    clock.instant = NOW
    assert restore(context, request, Passing(clock, 59)).added == 1
    with pytest.raises(AuthenticationError, match="expired"):  # nothing begins any more
        restore(context, request)


def test_a_merge_keeps_what_the_backup_does_not_hold(seven: Place) -> None:
    before, new = seven.rows(), team("new")
    seven.lines(
        record_of(SEVEN[0], 0, 0, 0, 1, line_start=3),
        record_of(new),
        record_of(SEVEN[2], 2, 0, 0, 1),
    )
    report = seven.restore()
    assert counts(report) == (1, 1, 1, 0, 0)
    assert not report.verified
    after = seven.rows()
    assert after.keys() == before.keys() | {new.key}
    assert after[SEVEN[0].key][0]["line_start"] == 3
    assert all(after[key] == before[key] for key in before if key != SEVEN[0].key)


def test_a_vector_alone_is_a_difference_and_so_is_a_type(seven: Place) -> None:
    seven.lines(record_of(SEVEN[0], 0, 0, 0, 0.99))
    assert counts(seven.restore()) == (0, 1, 0, 0, 0)
    for value, updated in ((1, 1), (1, 0), (True, 1), (1.0, 1)):
        seven.lines(record_of(SEVEN[0], 0, 0, 0, 1, draft=value))
        assert counts(seven.restore()) == (0, updated, 1 - updated, 0, 0)


def test_a_replacement_leaves_what_the_backup_holds(seven: Place) -> None:
    kept = seven.rows()
    fill(seven.engine, [raw(team("other")), RawRow("", ChunkId("lost"), {"content": "lost"})])
    report = seven.restore(mode=RestoreMode.REPLACE, confirm=COLLECTION)
    assert counts(report) == (0, 0, 7, 2, 0)
    assert seven.rows() == kept


@pytest.mark.parametrize("confirm", [None, "", "Knowledge-Base", "other"])
def test_a_replacement_and_a_truncation_name_the_collection(
    seven: Place, confirm: str | None
) -> None:
    before = seven.rows()
    attempts: list[Callable[[], object]] = [
        lambda: seven.restore(mode=RestoreMode.REPLACE, confirm=confirm),
        lambda: seven.truncate(confirm=confirm),
    ]
    for attempt in attempts:
        with pytest.raises(InvalidInputError, match="collection knowledge-base") as refused:
            attempt()
        assert refused.value.remedy == Remedy.CONFIRM_COLLECTION
    assert seven.rows() == before


def test_a_truncated_collection_takes_another_embedder(seven: Place) -> None:
    assert seven.truncate() == 7
    assert seven.rows() == {}
    seven.use(HashingEmbedder(2))
    seven.lines(record_of(team("x"), 1, 0))
    assert counts(seven.restore()) == (1, 0, 0, 0, 0)


def test_every_bad_record_is_told_and_no_good_one_is_stored(place: Place) -> None:
    good, bad = team("good"), team("bad")
    place.lines(
        record_of(good),
        "{",
        "",
        record_of(bad, 1, 0),
        {**record_of(bad), "hash": "h"},
        record_of(bad, visibility="public"),
        record_of(good, line_start=3),
        record_of(bad, tags=["a"]),
        record_of(bad, float("inf"), 0, 0, 0),
        record_of(bad, 1e39, 0, 0, 0),
        "[" * 100_000,
        record("\ud800", bad.metadata()),
        record("foreign", bad.metadata()),
        record_of(team("shared", "neo-shared")),
    )
    with pytest.raises(InvalidSubmissionError) as refused:
        place.restore()
    told = [(problem.line, problem.pointer) for problem in refused.value.problems]
    assert told == [
        (2, ""),
        (4, "/embedding"),
        (5, "/hash"),
        (6, "/metadata"),
        (7, "/id"),
        (8, "/metadata"),
        (9, ""),
        (10, "/embedding/0"),
        (11, ""),
        (12, "/id"),
        (13, "/metadata"),
        (14, "/metadata"),
    ]
    assert refused.value.total == len(told)
    assert refused.value.problems[1].reason.startswith("expected 4 numbers")
    assert refused.value.problems[4].reason == "expected another id than in line 1"
    assert place.rows() == {}
    assert place.engine.profile() is None


def test_only_the_first_problems_are_told_one_by_one(place: Place) -> None:
    place.lines(*["{"] * 120)
    with pytest.raises(InvalidSubmissionError, match="and 70 more") as refused:
        place.restore()
    assert [problem.line for problem in refused.value.problems] == list(range(1, 51))


def test_values_nested_deeply_are_a_bad_record_and_not_the_end(place: Place) -> None:
    deep = json.dumps(record("x", LEGACY)).replace('"C"', "[" * 900 + "]" * 900)
    place.lines(deep, record("y", LEGACY))
    with pytest.raises(InvalidSubmissionError) as refused:
        place.restore(adoption=ADOPTION)
    assert [problem.line for problem in refused.value.problems] == [1]


@pytest.mark.parametrize("profile", [EmbedderProfile("other", 4), EmbedderProfile("hashing", 8)])
def test_another_embedders_backup_is_refused_before_it_is_read(
    seven: Place, elsewhere: Place, profile: EmbedderProfile
) -> None:
    path = manifest_path(seven.folder / "b")
    manifest = json.loads(path.read_text())
    path.write_text(
        json.dumps({**manifest, "embedder": profile.name, "dimension": profile.dimension})
    )
    (seven.folder / "b").write_text("not read")
    with pytest.raises(StoreMismatchError):
        elsewhere.restore()
    assert elsewhere.engine.profile() is None


def test_a_backup_that_is_not_its_manifests_is_refused(seven: Place, elsewhere: Place) -> None:
    path = seven.folder / "b"
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole.replace(b"N3", b"N4"), b"", whole + b"\n"):
        path.write_bytes(damaged)
        with pytest.raises(InvalidInputError, match="SHA-256"):
            elsewhere.restore()
    path.write_bytes(whole)
    manifest = json.loads(manifest_path(path).read_text())
    for wrong in ({"records": 8}, {"tenants": {"acme": 7}}, {"unstamped": 1}, {"foreignIds": 1}):
        manifest_path(path).write_text(json.dumps({**manifest, **wrong}))
        with pytest.raises(InvalidInputError, match="counts"):
            elsewhere.restore()
    assert elsewhere.rows() == {}


def test_rows_of_two_owners_may_have_one_id_and_take_nothing_from_each_other(
    seven: Place,
) -> None:
    before = seven.rows()
    squatting = evolve(team("x", "beta"), id=SEVEN[0].id)
    seven.lines(record_of(squatting))
    with pytest.raises(InvalidSubmissionError):
        seven.restore()
    assert counts(seven.restore(foreign_ids=True)) == (1, 0, 0, 0, 0)
    assert {key: seven.rows()[key] for key in before} == before
    assert len(seven.rows()) == 8


def test_foreign_ids_need_a_manifest_that_counts_them_or_the_operators_word(
    seven: Place, elsewhere: Place
) -> None:
    fill(seven.engine, [keyed(writing("acme"), "foreign")])
    assert seven.export().foreign_ids == 1
    path = manifest_path(seven.folder / "b")
    manifest = json.loads(path.read_text())
    for uncounted in ({**manifest, "foreignIds": 0}, None):
        path.unlink()
        if uncounted is not None:
            path.write_text(json.dumps(uncounted))
        with pytest.raises(InvalidSubmissionError) as refused:
            elsewhere.restore()
        assert refused.value.remedy == Remedy.ALLOW_FOREIGN_IDS
        assert elsewhere.rows() == {}
        path.write_text(json.dumps(manifest))
    assert counts(elsewhere.restore())[0] == 8
    assert elsewhere.rows() == seven.rows()


def test_private_rows_of_an_export_of_format_1_get_their_own_ids(place: Place) -> None:
    """Fails: of two agents' copies of a chunk, which had one id, one is lost."""
    rows = [private("N", "ada"), private("N", "bob"), team("N")]
    place.lines(*(record(OLD_ID, each.metadata()) for each in rows))
    assert counts(place.restore()) == (3, 0, 0, 0, 0)
    assert place.rows().keys() == {each.key for each in rows}
    assert counts(place.restore()) == (0, 0, 3, 0, 0)
    assert place.export().foreign_ids == 0


def test_a_javascript_export_is_restored_into_the_named_repository(place: Place) -> None:
    place.lines(*(record(f"h{n}", {**LEGACY, "name": f"N{n}", "hash": f"h{n}"}) for n in range(5)))
    with pytest.raises(InvalidSubmissionError) as refused:
        place.restore()
    assert refused.value.remedy == Remedy.ADOPT_ROWS
    assert counts(place.restore(adoption=ADOPTION)) == (5, 0, 0, 0, 5)
    assert counts(place.restore(adoption=ADOPTION)) == (0, 0, 5, 0, 5)
    assert {metadata["tenantId"] for metadata, _ in place.rows().values()} == {"acme"}
    assert counts(place.restore(adoption=Adoption("beta", "app"))) == (5, 0, 0, 0, 5)
    owners = Counter(metadata["tenantId"] for metadata, _ in place.rows().values())
    assert owners == {"acme": 5, "beta": 5}, "the same content under two tenants is two rows"


def test_only_a_curator_gives_rows_to_the_shared_tenant(place: Place) -> None:
    place.lines(record("h", {**LEGACY, "hash": "h"}))
    corpus = Adoption("neo-shared", "neo")
    with pytest.raises(AccessDeniedError):
        place.restore(adoption=corpus)
    shared = row(writing("neo-shared", repo="neo"), "N")
    place.lines(record_of(team("mine")), record_of(shared), name="stamped")
    for how in ({}, {"foreign_ids": True}, {"adoption": ADOPTION}):
        with pytest.raises(InvalidSubmissionError, match="only a curator") as refused:
            place.restore(name="stamped", **how)
        assert [problem.line for problem in refused.value.problems] == [2]
    assert place.rows() == {}
    both = evolve(OLGA, roles=OLGA.roles | {Role.CURATOR})
    assert counts(place.restore(both, adoption=corpus))[0] == 1
    assert [key.id for key in place.rows()] == ["h"], "the shared corpus keeps its ids"
    assert counts(place.restore(CURATOR, name="stamped"))[0] == 2


def test_adoption_leaves_well_formed_stamps_alone(place: Place) -> None:
    place.lines(record_of(team("mine", "beta")), record("lost", LEGACY))
    assert counts(place.restore(adoption=ADOPTION)) == (2, 0, 0, 0, 1)
    owners = {metadata["name"]: metadata["tenantId"] for metadata, _ in place.rows().values()}
    assert owners == {"mine": "beta", "N": "acme"}


def test_malformed_rows_are_exported_counted_and_need_adoption(
    place: Place, elsewhere: Place
) -> None:
    edited = RawRow("team:acme", ChunkId("0"), {**LEGACY, "tenantId": "acme"})
    fill(place.engine, [raw(team("good")), edited])
    place.use(HashingEmbedder(4))
    elsewhere.engine.bind(place.engine.profile() or EMBEDDER.profile)
    manifest = place.export()
    assert (manifest.records, manifest.tenants, manifest.unstamped) == (2, {"acme": 1}, 1)
    assert manifest.foreign_ids == 0, "a row without a stamp has no id of its own"
    with pytest.raises(InvalidSubmissionError, match="line 1 /metadata"):
        elsewhere.restore()
    assert counts(elsewhere.restore(adoption=ADOPTION)) == (2, 0, 0, 0, 1)


def test_a_row_with_another_audiences_label_is_restored_under_its_own(
    place: Place, elsewhere: Place
) -> None:
    stored = private("N")
    place.engine.bind(EMBEDDER.profile)
    exposed = {**stored.metadata(), "access": "team:acme"}
    place.engine.put(
        [RawRow("team:acme", stored.id, exposed)], np.ones((1, 4), np.float32), exact=True
    )
    place.export()
    assert counts(elsewhere.restore()) == (1, 0, 0, 0, 0)
    assert elsewhere.rows().keys() == {stored.key}


def test_no_name_of_a_chunk_breaks_off_an_export(place: Place, elsewhere: Place) -> None:
    """Fails: a text that reads like JSON nested deeply, and is stored with a replacement letter."""
    name = '["\ud800",' + "[" * 600 + "]" * 600 + "]"
    stored = team(name)
    place.engine.bind(EMBEDDER.profile)
    place.engine.put([raw(stored)], np.ones((1, 4), np.float32), exact=True)
    assert place.export().records == 1
    assert counts(elsewhere.restore()) == (1, 0, 0, 0, 0)
    assert elsewhere.rows() == place.rows()


def test_an_empty_collection_is_a_backup_too(place: Place, elsewhere: Place) -> None:
    manifest = place.export()
    assert (manifest.records, manifest.embedder) == (0, EMBEDDER.profile)
    assert counts(elsewhere.restore()) == (0, 0, 0, 0, 0)


def test_a_store_that_fails_ends_an_export_without_a_file(seven: Place) -> None:
    seven.engine.records_left = 3
    with pytest.raises(StoreError):
        seven.export(name="c")
    assert {file.name for file in seven.folder.iterdir()} >= {"b", "b.manifest.json"}
    assert not list(seven.folder.glob("*c*"))


# Vectors


VECTORS: dict[str, Any] = json.loads(
    (Path(schemas.__file__).parent / "vectors" / "backup-records.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("number", VECTORS["numbers"], ids=lambda number: number["bits"])
def test_every_published_notation_means_its_number(tmp_path: Path, number: Any) -> None:
    expected = np.frombuffer(bytes.fromhex(number["bits"]), ">f4").astype(np.float32)
    draft(tmp_path / "b", expected[np.newaxis])
    [written] = json.loads((tmp_path / "b").read_text())["embedding"]
    for notation in (*number["notations"], json.dumps(written)):
        assert np.array([json.loads(notation)], np.float32).tobytes() == expected.tobytes()


@pytest.mark.parametrize("vector", VECTORS["records"], ids=lambda vector: vector["name"])
def test_a_published_record_is_restored_or_refused_as_told(tmp_path: Path, vector: Any) -> None:
    place = Place(tmp_path, clock=StoppedClock())
    who = evolve(OLGA, roles=frozenset(Role)) if vector.get("curator") else OLGA
    adopt = vector.get("adopt")
    how: dict[str, Any] = {
        "adoption": Adoption(adopt["tenantId"], adopt["repoSlug"]) if adopt else None,
        "foreign_ids": vector.get("foreignIds", False),
    }
    place.lines(vector["record"])
    if pointer := vector.get("refusedAt"):
        with pytest.raises(InvalidSubmissionError) as refused:
            place.restore(who, **how)
        assert [problem.pointer for problem in refused.value.problems] == [pointer]
        assert place.rows() == {}
        return
    place.restore(who, **how)
    [(key, (metadata, _))] = place.rows().items()
    assert (key.id, metadata) == (vector["id"], vector["metadata"])
    assert key.label == metadata["access"]
