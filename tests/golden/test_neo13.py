"""Ids of the scheme ``neo13``, as the JavaScript system's release 13.1.0 gave them.

Of that release's code and output are: the chunks of the mini workspace
(``mini-neo-workspace-13.jsonl``), the id of each one's row, in the same order
(``mini-neo-workspace.ids-13.txt``), and its export of these rows, here with vectors that mean
nothing (``mini-neo-workspace-13-export.jsonl``).
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.adapters.embedders.hashing import HashingEmbedder
from tenantkb.adapters.files.backups import manifest_path
from tenantkb.adapters.sources.registry import WorkspaceSources
from tenantkb.adapters.stores.memory import MemoryEngine
from tenantkb.application.operating.backup import RestoreReport, RestoreRequest
from tenantkb.application.writing.create import create
from tenantkb.application.writing.embed import EmbedRequest
from tenantkb.application.writing.sync import SyncReport, SyncRequest
from tenantkb.domain.backup import Manifest
from tenantkb.domain.derivation import created_fingerprint, settled
from tenantkb.domain.errors import InvalidSubmissionError, StoreMismatchError
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.ids import IdScheme
from tenantkb.domain.paths import RootKind
from tenantkb.domain.rows import stamped_row
from tenantkb.domain.stamps import SharedNamespace, Visibility
from tenantkb.ports.engine import RawRow
from tenantkb.testing.composition import Application, compose
from tenantkb.testing.samples import writing

HERE = Path(__file__).parent
WORKSPACE = HERE / "mini-neo-workspace"
CHUNKS = HERE / "mini-neo-workspace-13.jsonl"
IDS = (HERE / "mini-neo-workspace.ids-13.txt").read_text().split()
EXPORT = HERE / "mini-neo-workspace-13-export.jsonl"
NEO13 = SharedNamespace(ids=IdScheme.NEO13)
SCHEMES: tuple[Literal["content", "neo13"], ...] = ("content", "neo13")

OLGA = AgentIdentity("neo-shared", "olga", frozenset({Role.CURATOR, Role.OPERATOR}))
ADA = AgentIdentity("acme", "ada")
PUSHED: dict[str, Any] = {
    "schemaVersion": "1.0.0",
    "tenantId": "acme",
    "repoSlug": "app",
    "rootKind": "bare-repo",
    "sourcePath": "src/a.proto",
    "parserId": "proto",
    "parserVersion": "1.0.0",
    "kind": "message",
    "name": "Account",
    "content": "message Account {}",
    "hashInputs": ["kind", "name", "content", "customMeta"],
    "customMeta": {"package": "billing"},
}

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9)
Make = Callable[[Literal["content", "neo13"]], Application]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(ids: Literal["content", "neo13"]) -> Application:
        return compose(MemoryEngine(), tmp_path / ids, embedder=HashingEmbedder(4), ids=ids)

    return made


def restore(app: Application, path: Path, **more: Any) -> RestoreReport:
    return app.knowledge_base.restore(app.context(OLGA), RestoreRequest(path, **more))


def export(app: Application, path: Path, *, javascript: bool = False) -> Manifest:
    return app.knowledge_base.export(app.context(OLGA), path, javascript=javascript)


def sync(app: Application, *, private: bool = False) -> SyncReport:
    visibility = Visibility.PRIVATE if private else Visibility.TEAM
    request = SyncRequest(WORKSPACE, "neo", visibility=visibility)
    return app.knowledge_base.sync(app.context(OLGA), request)


def push(app: Application, *records: object) -> None:
    request = EmbedRequest("app")
    app.knowledge_base.embed(app.context(ADA), request, enumerate(records, 1))


def changed(report: SyncReport) -> tuple[int, int, int]:
    return report.plan.added, report.plan.reembedded + report.plan.restamped, report.deleted


def ids_in(app: Application) -> list[str]:
    return sorted(str(row.id) for row, _ in app.engine.export())


def only(app: Application) -> RawRow:
    ((row, _),) = app.engine.export()
    return row


def records(path: Path) -> list[dict[str, Any]]:
    lines = path.read_bytes().splitlines()
    return sorted(map(json.loads, lines), key=lambda each: str(each["id"]))


def sha256(**values: Any) -> str:
    """As ``JSON.stringify`` and the digest of the JavaScript system."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def test_what_is_extracted_says_the_hashes_of_13_1() -> None:
    out = io.StringIO()
    create(
        WorkspaceSources(),
        WORKSPACE,
        out,
        create_hash=partial(created_fingerprint, namespace=NEO13),
    )
    assert out.getvalue().split("\n") == CHUNKS.read_bytes().decode().split("\n")


def test_every_row_has_the_id_of_13_1() -> None:
    scope = writing("neo-shared", repo="neo", namespace=NEO13)
    chunks = [json.loads(line) for line in CHUNKS.read_bytes().splitlines()]
    rows = [stamped_row(chunk, scope, RootKind.NEO_WORKSPACE) for chunk in chunks]
    assert [str(row.id) for row in rows] == IDS
    assert [row.fields["hash"] for row in rows] == IDS


@given(
    chunk=st.fixed_dictionaries(
        {"type": TEXTS, "name": TEXTS | st.integers(0, 10**6), "content": TEXTS},
        optional={"description": TEXTS, "extends": TEXTS, "hashInputs": st.just(["name"])},
    ),
    private=st.booleans(),
    shared=st.booleans(),
)
def test_either_scheme_gives_a_row_of_the_other_its_own_id(
    chunk: dict[str, Any], private: bool, shared: bool
) -> None:
    """A law: what is stored under one scheme and settled under another is stored there."""
    owner = ("neo-shared", "ada", "neo") if shared else ("acme", "ada", "app")
    visibility = Visibility.PRIVATE if private else Visibility.TEAM
    rows = {
        ids: stamped_row(
            {**chunk, "source": "a.md"},
            writing(*owner, visibility, SharedNamespace(ids=ids)),
            RootKind.NEO_WORKSPACE,
        )
        for ids in IdScheme
    }
    for origin, row in rows.items():
        for ids, wanted in rows.items():
            for told in (origin, None):
                found = settled(row.id, row.metadata(), row.stamp, SharedNamespace(ids=ids), told)
                assert found == (wanted.id, wanted.fields["hash"], wanted.fields["name"])


def test_a_synchronisation_stores_the_rows_of_13_1(make: Make) -> None:
    app = make("neo13")
    sync(app)
    assert ids_in(app) == sorted(set(IDS))
    assert changed(sync(app)) == (0, 0, 0)


@pytest.mark.parametrize("ids", SCHEMES)
def test_an_export_of_13_1_restores_and_a_synchronisation_finds_nothing_to_do(
    make: Make, ids: Literal["content", "neo13"]
) -> None:
    app = make(ids)
    assert restore(app, EXPORT).added == len(set(IDS))
    assert changed(sync(app)) == (0, 0, 0)
    assert (ids_in(app) == sorted(set(IDS))) is (ids == "neo13")
    assert restore(app, EXPORT).unchanged == len(set(IDS))


def test_what_13_1_exported_is_given_back_as_it_was(make: Make, tmp_path: Path) -> None:
    app = make("neo13")
    restore(app, EXPORT)
    export(app, tmp_path / "back", javascript=True)
    given, back = records(EXPORT), records(tmp_path / "back")
    for record in given:  # null, which is written as text there, is the lack of a field here
        fields = record["metadata"].items()
        record["metadata"] = {key: value for key, value in fields if value != "null"}
    assert back == given
    assert [type(each["metadata"]["name"]) for each in back] == [
        type(each["metadata"]["name"]) for each in given
    ]


@pytest.mark.parametrize("ids", SCHEMES)
def test_an_export_for_13_1_has_its_ids_and_leaves_private_rows_out(
    make: Make, tmp_path: Path, ids: Literal["content", "neo13"]
) -> None:
    app = make(ids)
    sync(app)
    push(app, PUSHED)
    request = EmbedRequest("app", visibility=Visibility.PRIVATE)
    app.knowledge_base.embed(app.context(ADA), request, [(1, {**PUSHED, "name": "mine"})])
    manifest = export(app, tmp_path / "there", javascript=True)
    assert (manifest.ids, manifest.private, manifest.underived) == (IdScheme.NEO13, 1, 0)
    found = {str(each["id"]) for each in records(tmp_path / "there")}
    # The owner takes part in the fingerprint of a pushed record there.
    theirs = sha256(
        tenantId="acme",
        repoSlug="app",
        hash=sha256(
            tenantId="acme",
            repoSlug="app",
            kind="message",
            name="Account",
            content="message Account {}",
            customMeta={"package": "billing"},
        ),
        type="message",
        name="Account",
        source="src/a.proto",
    )
    assert found == {*IDS, theirs}
    there = make(ids)
    assert restore(there, tmp_path / "there").verified
    assert set(ids_in(there)) < set(ids_in(app))  # all but the private row


def test_a_row_whose_id_cannot_be_derived_is_left_out_and_counted(
    make: Make, tmp_path: Path
) -> None:
    app = make("content")
    sync(app)
    row, vector = next(iter(app.engine.export()))
    app.engine.put([row._replace(metadata={**row.metadata, "hash": "x"})], vector[None], exact=True)
    assert export(app, tmp_path / "there", javascript=True).underived == 1


@pytest.mark.parametrize("ids", SCHEMES)
def test_the_agent_takes_part_in_the_id_of_a_private_row(
    make: Make, ids: Literal["content", "neo13"]
) -> None:
    app = make(ids)
    for agent in ("ada", "bob"):
        caller = AgentIdentity("acme", agent)
        request = EmbedRequest("app", visibility=Visibility.PRIVATE)
        app.knowledge_base.embed(app.context(caller), request, [(1, PUSHED)])
    fingerprint = sha256(**{key: PUSHED[key] for key in PUSHED["hashInputs"]})
    assert ids_in(app) == sorted(
        sha256(
            tenantId="acme",
            repoSlug="app",
            hash=fingerprint,
            type="message",
            name="Account",
            source="src/a.proto",
            originAgentIdentity=agent,
        )
        for agent in ("ada", "bob")
    )


def test_a_record_with_hash_inputs_keeps_its_fingerprint(make: Make) -> None:
    app = make("neo13")
    push(app, PUSHED)
    row = only(app)
    assert str(row.id) == sha256(
        tenantId="acme",
        repoSlug="app",
        hash=sha256(**{key: PUSHED[key] for key in PUSHED["hashInputs"]}),
        type="message",
        name="Account",
        source="src/a.proto",
    )
    assert row.metadata["hash"] == str(row.id)


def test_the_owner_in_a_hash_is_the_servers_and_never_a_claim(make: Make) -> None:
    chunk = {"type": "guide", "name": "n", "content": "text", "source": "n.md"}
    app = make("neo13")
    push(app, {**chunk, "tenantId": "beta", "repoSlug": "other"})
    content_hash = sha256(tenantId="acme", repoSlug="app", type="guide", name="n", content="text")
    owner = {"tenantId": "acme", "repoSlug": "app"}
    assert str(only(app).id) == sha256(
        **owner, hash=content_hash, type="guide", name="n", source="n.md"
    )


@pytest.mark.parametrize("ids", SCHEMES)
def test_a_change_of_visibility_moves_the_row_and_keeps_its_vector(
    make: Make, ids: Literal["content", "neo13"]
) -> None:
    app = make(ids)
    sync(app)
    before = ids_in(app)
    report = sync(app, private=True)
    assert (report.plan.added, report.plan.restamped, report.deleted) == (0, len(before), 0)
    assert set(ids_in(app)).isdisjoint(before)
    assert changed(sync(app, private=True)) == (0, 0, 0)
    assert sync(app).plan.restamped == len(before)
    assert ids_in(app) == before


@pytest.mark.parametrize(("ids", "other"), [SCHEMES, SCHEMES[::-1]])
def test_a_restore_under_the_other_scheme_derives_every_id_anew(
    make: Make,
    tmp_path: Path,
    ids: Literal["content", "neo13"],
    other: Literal["content", "neo13"],
) -> None:
    app = make(ids)
    sync(app)
    push(app, PUSHED)
    manifest = export(app, tmp_path / "backup")
    assert (manifest.ids, manifest.foreign_ids) == (ids, 0)
    assert json.loads(manifest_path(tmp_path / "backup").read_text())["ids"] == ids
    there = make(other)
    assert restore(there, tmp_path / "backup").added == len(ids_in(app))
    assert changed(sync(there)) == (0, 0, 0)
    push(there, PUSHED)
    assert len(ids_in(there)) == len(ids_in(app))
    # The pushed record lies outside of the shared corpus and keeps its fingerprint.
    assert len({*ids_in(there)} & {*ids_in(app)}) == 1


@pytest.mark.parametrize("ids", SCHEMES)
def test_a_name_that_was_no_text_is_known_however_its_json_is_spaced(
    make: Make, tmp_path: Path, ids: Literal["content", "neo13"]
) -> None:
    file = tmp_path / "spaced"
    text = EXPORT.read_text(encoding="utf-8")
    assert r"[\"one\",\"two\"]" in text
    file.write_text(text.replace(r"[\"one\",\"two\"]", r"[\"one\", \"two\"]"), encoding="utf-8")
    app = make(ids)
    restore(app, file)
    assert changed(sync(app)) == (0, 0, 0)


def test_rows_that_come_to_one_id_are_restored_once(make: Make, tmp_path: Path) -> None:
    # In the shared corpus of the scheme `content` an id knows no path.
    (twin, *_) = records(EXPORT)
    metadata = {**twin["metadata"], "source": "elsewhere.md"}
    theirs = {key: metadata[key] for key in ("type", "name", "source")}
    owner = {"tenantId": "neo-shared", "repoSlug": "neo"}
    hashed = {key: metadata[key] for key in ("type", "name", "description", "content", "extends")
              if key in metadata}  # fmt: skip
    twin_id = sha256(**owner, hash=sha256(**owner, **hashed), **theirs)
    metadata |= {"id": twin_id, "hash": twin_id}
    lines = [twin, {**twin, "id": twin_id, "metadata": metadata}]
    file = tmp_path / "twins"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    neo, content = make("neo13"), make("content")
    assert restore(neo, file).added == 2
    assert restore(content, file).added == 1
    assert only(content).metadata["sourcePath"] == twin["metadata"]["source"]
    assert restore(content, file).unchanged == 1


def test_a_chunk_that_another_tenant_stored_there_gets_the_id_of_its_owner(
    make: Make, tmp_path: Path
) -> None:
    # The JavaScript system extracts under the default owner, and stamps afterwards.
    chunk = {"type": "guide", "name": "n", "content": "text", "source": "n.md"}
    hashed = {key: chunk[key] for key in ("type", "name", "content")}
    created = sha256(tenantId="neo-shared", repoSlug="neo", **hashed)
    owner = {"tenantId": "acme", "repoSlug": "app"}
    row_id = sha256(**owner, hash=created, type="guide", name="n", source="n.md")
    metadata = {**chunk, **owner, "visibility": "team", "tenantConfigVersion": 0}
    metadata |= {"ingestedAt": 1767225600000, "hash": row_id, "id": row_id}
    record = {"id": row_id, "embedding": [1, 0, 0, 0], "metadata": metadata, "document": None}
    file = tmp_path / "theirs"
    file.write_text(json.dumps(record) + "\n")
    app = make("neo13")
    restore(app, file)
    before = ids_in(app)
    assert before != [row_id]
    push(app, chunk)
    assert ids_in(app) == before


def test_a_changed_text_is_refused_as_a_foreign_id(make: Make, tmp_path: Path) -> None:
    (record, *_) = records(EXPORT)
    record["metadata"]["content"] += " and more"
    file = tmp_path / "forged"
    file.write_text(json.dumps(record) + "\n")
    with pytest.raises(InvalidSubmissionError, match="not the one that is derived"):
        restore(make("neo13"), file)


@pytest.mark.parametrize("instant", [1e300, -(10**18), 10**30])
def test_a_number_that_is_no_instant_is_refused(make: Make, tmp_path: Path, instant: float) -> None:
    (record, *_) = records(EXPORT)
    record["metadata"]["ingestedAt"] = instant
    file = tmp_path / "odd"
    file.write_text(json.dumps(record) + "\n")
    with pytest.raises(InvalidSubmissionError, match="milliseconds since 1970"):
        restore(make("neo13"), file)


def test_a_store_of_the_other_scheme_is_refused_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    engine = MemoryEngine()
    app = compose(engine, tmp_path / "a", embedder=HashingEmbedder(4), ids="content")
    sync(app)
    before = ids_in(app)
    other = compose(engine, tmp_path / "b", embedder=HashingEmbedder(4), ids="neo13")
    for call in (
        lambda: sync(other),
        lambda: push(other, PUSHED),
        lambda: restore(other, EXPORT),
        lambda: export(other, tmp_path / "backup"),
        lambda: other.knowledge_base.query(other.context(OLGA), "workers"),
    ):
        with pytest.raises(StoreMismatchError, match=r"scheme content, and tenancy\.ids is neo13"):
            call()
    assert ids_in(app) == before
