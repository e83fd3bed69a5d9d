"""What is kept of files changes nothing but the time that an extraction takes."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest
from attrs import define, evolve
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from tenantkb.adapters.configuration.settings import FactorySettings, WorkspaceSettings
from tenantkb.adapters.parsers.pool import Limits, ParserPool
from tenantkb.adapters.sources.registry import WorkspaceSources
from tenantkb.adapters.state.file_caches import LocalFileCaches
from tenantkb.application.writing.create import cache_of, create
from tenantkb.domain.canonical import content_fingerprint
from tenantkb.domain.derivation import created_fingerprint
from tenantkb.domain.extraction import Diagnostic
from tenantkb.domain.ids import IdScheme
from tenantkb.domain.stamps import SharedNamespace
from tenantkb.ports.extraction import CreateHash

READING = WorkspaceSettings(code_source=True, source_paths={"CodeSource": "src"})
Found = tuple[str, tuple[Diagnostic, ...]]


def later() -> int:
    """A clock by which every file is old."""
    return time.time_ns() + 10_000_000_000


@define
class Workspace:
    """A workspace with what is kept of it."""

    folder: Path
    reading: WorkspaceSettings = READING
    create_hash: CreateHash = content_fingerprint
    import_path: tuple[Path, ...] = ()

    @property
    def root(self) -> Path:
        return self.folder / "checkout"

    @property
    def kept(self) -> Path:
        [file] = [each for each in (self.folder / "kept").iterdir() if not each.suffix]
        return file

    def caches(self, most_bytes: int = 1 << 30) -> LocalFileCaches:
        return LocalFileCaches(self.folder / "kept", most_bytes, later)

    def write(self, path: str, text: str | bytes) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    def extract(self, caches: LocalFileCaches | None = None, *, fresh: bool = False) -> Found:
        out = io.StringIO()
        cached = cache_of(caches or self.caches(), "a tenant", root=self.root, fresh=fresh)
        sources = WorkspaceSources(self.reading, import_path=self.import_path)
        report = create(sources, self.root, out, create_hash=self.create_hash, cached=cached)
        assert report.total == out.getvalue().count("\n")
        return out.getvalue(), report.diagnostics

    def anew(self) -> Found:
        return self.extract(LocalFileCaches(None, 0))


@pytest.fixture
def workspace(tmp_path):
    made = Workspace(tmp_path)
    made.write("learn/agentos/decisions/0001-a.md", "# A\n")
    made.write("learn/tree.json", '{"data": [{"id": "one", "name": "One"}]}')
    made.write("learn/one.md", "# One\ntext\n## Two\nmore\n")
    made.write("src/a.mjs", "export default class A { go() { return 1 } }\n")
    made.write("src/broken.mjs", "export class {\n")
    made.write("src/bundle.js", "// @generated\nlet a = 1\n")
    made.write("resources/content/concepts/a.md", "---\nname: N\n---\nB")
    made.write("resources/content/concepts/b.md", "---\n[\n---\nB")
    return made


@pytest.fixture
def no_parsing(monkeypatch):
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("a file is parsed")

    return partial(monkeypatch.setattr, ParserPool, "parse", refuse)


def test_what_has_not_changed_is_told_again_word_for_word_and_parsed_no_more(workspace, no_parsing):
    first = workspace.extract()
    assert first == workspace.anew()
    assert {found.reason for found in first[1]} > {"cannot be parsed", "cut by lines", "generated"}
    no_parsing()
    assert workspace.extract() == first
    assert workspace.anew() != first
    assert stat.S_IMODE(workspace.kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(workspace.kept.parent.stat().st_mode) == 0o700


def test_a_changed_file_is_the_only_one_that_is_made_again(workspace, monkeypatch):
    workspace.extract()
    workspace.write("src/a.mjs", "export default class B { go() { return 1 } }\n")
    parsed = []
    parse = ParserPool.parse

    def noting(pool, recipe, jobs):
        for job, result in parse(pool, recipe, jobs):
            parsed.append((job.path, recipe.factory.rpartition(":")[2]))
            yield job, result

    monkeypatch.setattr(ParserPool, "parse", noting)
    workspace.extract()
    assert parsed == [("src/a.mjs", "SourceParser"), ("src/a.mjs", "CodeParser")]


def test_a_file_with_the_same_size_and_time_has_changed_all_the_same(workspace):
    file = workspace.write("learn/agentos/decisions/0001-a.md", "# 1\n")
    before = file.stat()
    workspace.extract()
    time.sleep(0.02)  # the system's clock goes on
    file.write_text("# 2\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert "# 2" in workspace.extract()[0]


def test_a_status_that_is_new_is_not_relied_on(workspace):
    status: dict[str, int] = {}

    def frozen(path, *arguments, **named):
        """As a file system would have it whose times are coarse."""
        found = list(real(path, *arguments, **named))
        return os.stat_result(found, {"st_mtime_ns": 0, "st_ctime_ns": status.get("at", 0)})

    real = os.stat
    for now, relied in ((lambda: status["at"] + 1_000_000_000, False), (later, True)):
        caches = LocalFileCaches(workspace.folder / f"kept {relied}", 1 << 30, now)
        status["at"] = time.time_ns()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "stat", frozen)
            workspace.write("learn/agentos/decisions/0001-a.md", "# 1\n")
            workspace.extract(caches)
            workspace.write("learn/agentos/decisions/0001-a.md", "# 2\n")
            assert ("# 2" in workspace.extract(caches)[0]) is not relied


def test_a_copy_of_the_checkout_in_its_place_is_read_and_not_parsed(workspace, no_parsing):
    first = workspace.extract()
    shutil.copytree(workspace.root, workspace.folder / "copy")
    shutil.rmtree(workspace.root)
    (workspace.folder / "copy").rename(workspace.root)
    no_parsing()
    assert workspace.extract() == first


@pytest.mark.parametrize(
    "change",
    [
        lambda each: evolve(each, reading=evolve(READING, parser_patterns={"*.mjs": "LineParser"})),
        lambda each: evolve(
            each,
            reading=evolve(
                READING,
                source_paths={"CodeSource": {"root": "src", "maxCharacters": 200}},
            ),
        ),
        lambda each: evolve(
            each,
            create_hash=partial(created_fingerprint, namespace=SharedNamespace(ids=IdScheme.NEO13)),
        ),
    ],
    ids=["another parser", "another option", "another scheme of ids"],
)
def test_what_the_lines_depend_on_besides_files_makes_them_anew(workspace, change):
    workspace.write("src/long.md", "A sentence of some words.\n\n" * 200)
    first = workspace.extract()
    changed = change(workspace)
    assert changed.extract() == changed.anew() != first


def test_the_hierarchy_of_classes_is_such_a_thing(workspace):
    workspace.extract()
    workspace.write("docs/output/class-hierarchy.json", '{"A": "Base"}')
    assert '"extends":"Base"' in workspace.extract()[0]


SHOUTING = """
class Shouting:
    def parse(self, content, path, **_):
        return [{"type": "t", "name": path, "content": "one", "source": path}]
"""


def test_parsers_of_others_are_always_run(workspace):
    workspace.reading = evolve(
        READING,
        custom_parsers={"Shouting": FactorySettings("shouting:Shouting")},
        parser_patterns={"*.mjs": "Shouting"},
    )
    module = workspace.write("../modules/shouting.py", SHOUTING)
    workspace.import_path = (module.parent,)
    assert "one" in workspace.extract()[0]
    module.write_text(SHOUTING.replace("one", "another one"))
    assert "another one" in workspace.extract()[0]


def test_what_exceeds_a_limit_is_tried_again(workspace, monkeypatch):
    workspace.write("src/long.mjs", "let x = 1\n" * 20_000)
    sources = partial(WorkspaceSources, READING)

    def extract(limits: Limits) -> str:
        out = io.StringIO()
        cached = cache_of(workspace.caches(), root=workspace.root, fresh=False)
        create(sources(limits=limits), workspace.root, out, cached=cached)
        return out.getvalue()

    limited = extract(Limits(seconds=0.001))
    assert extract(Limits()) == extract(Limits()) != limited


@pytest.mark.parametrize("damage", ["", "tenantkb files 0\n", "other"])
def test_a_file_that_is_none_of_ours_is_made_anew(workspace, damage):
    first = workspace.extract()
    workspace.kept.write_text(damage)
    assert workspace.extract() == first
    assert workspace.kept.stat().st_size > 1000


def test_nothing_that_happens_to_the_kept_file_shows(tmp_path_factory, workspace):
    first = workspace.extract()
    whole = workspace.kept.read_bytes()
    root, kept = workspace.root, workspace.kept

    @settings(max_examples=25)
    @given(st.data())
    def damaged(data):
        place = data.draw(st.integers(0, len(whole) - 1))
        if data.draw(st.booleans()):
            kept.write_bytes(whole[:place])
        else:
            changed = bytes([whole[place] ^ data.draw(st.integers(1, 255))])
            kept.write_bytes(whole[:place] + changed + whole[place + 1 :])
        assert workspace.extract() == first

    assert root.is_dir()
    damaged()


def test_where_nothing_can_be_kept_nothing_is_and_that_is_no_error(workspace):
    first = workspace.anew()
    (workspace.folder / "kept").write_text("a file in the place of the folder")
    assert workspace.extract() == first


def test_of_two_at_work_one_keeps_what_it_finds(workspace):
    first = workspace.extract()
    before = workspace.kept.read_bytes()
    with FileLock(f"{workspace.kept}.lock"):
        workspace.write("src/new.mjs", "export default 1\n")
        assert workspace.extract() == workspace.anew() != first
        assert workspace.kept.read_bytes() == before
    workspace.extract()
    assert workspace.kept.read_bytes() != before
    assert not list(workspace.kept.parent.glob("*.part"))


def test_what_was_used_longest_ago_makes_room(workspace):
    workspace.extract()
    first = workspace.kept
    os.utime(first, (1, 1))
    other = evolve(workspace, folder=workspace.folder / "other")
    shutil.copytree(workspace.root, other.root)
    room = first.stat().st_size * 3 // 2
    other.extract(LocalFileCaches(workspace.folder / "kept", room, later))
    assert not first.exists()
    assert workspace.kept.stat().st_size <= room


def test_nobody_uses_what_is_kept_for_another(workspace, no_parsing):
    workspace.extract()
    no_parsing()
    for owner, root in (("another tenant", workspace.root), ("a tenant", workspace.folder)):
        out = io.StringIO()
        cached = cache_of(workspace.caches(), owner, root=root, fresh=False)
        report = create(WorkspaceSources(READING), workspace.root, out, cached=cached)
        assert any(found.reason == "the source broke off" for found in report.diagnostics)


def test_full_uses_nothing_and_keeps_what_it_finds(workspace, no_parsing):
    first = workspace.extract()
    workspace.kept.write_bytes(b"")
    assert workspace.extract(fresh=True) == first
    no_parsing()
    assert workspace.extract() == first


PATHS = st.sampled_from(
    [
        "learn/agentos/decisions/0001-a.md",
        "learn/agentos/decisions/0002-b.md",
        "resources/content/concepts/a.md",
        "resources/content/issues/issue-1.md",
        "resources/content/issues/_index.json",
        ".agents/skills/one/SKILL.md",
        ".agents/skills/one/references/two.md",
        ".gitignore",
        "src/notes.txt",
        "src/a.md",
    ]
)
TEXTS = st.sampled_from(
    [
        "# A\n",
        "# B\n",
        "---\nname: x\n---\ntext\n",
        "---\n[\n---\n",
        '[{"type": "issues", "path": "issues/issue-1.md", "id": 7}]',
        "## rules\n<!-- trigger: x → read references/two.md -->\n",
        "*.txt\n",
        "a\0b",
        "",
    ]
)
STEPS = st.one_of(
    st.tuples(st.just("write"), PATHS, TEXTS),
    st.tuples(st.just("rewrite"), PATHS, TEXTS),
    st.tuples(st.just("rename"), PATHS, PATHS),
    st.tuples(st.just("link"), PATHS, PATHS),
    st.tuples(st.just("delete"), PATHS, PATHS),
    st.tuples(st.just("deny"), PATHS, PATHS),
)


def carry_out(workspace: Workspace, step: tuple[str, str, str]) -> None:
    """Change a workspace as its user might."""
    what, first, second = step
    file = workspace.root / first
    other = workspace.root / second
    if what == "write":
        file.unlink(missing_ok=True)
        workspace.write(first, second)
    elif what == "rewrite" and file.is_file() and not file.is_symlink():
        before = file.stat()
        data = second.encode()
        file.write_bytes(data[: before.st_size].ljust(before.st_size))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif what == "rename" and os.path.lexists(file):
        other.parent.mkdir(parents=True, exist_ok=True)
        file.replace(other)
    elif what == "link" and not os.path.lexists(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.symlink_to(other)
    elif what == "delete":
        file.unlink(missing_ok=True)
    elif what == "deny" and file.is_file() and not file.is_symlink():
        file.chmod(0 if file.stat().st_mode & 0o400 else 0o600)


@settings(max_examples=25)
@given(st.lists(st.lists(STEPS, min_size=1, max_size=4), min_size=1, max_size=4))
def test_whatever_happens_to_a_workspace_what_is_kept_hides_nothing_of_it(rounds):
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        workspace.root.mkdir()
        for steps in rounds:
            for step in steps:
                carry_out(workspace, step)
            workspace.extract()
            time.sleep(0.01)
        found = workspace.extract()
        assert found == workspace.anew()
        assert workspace.extract() == found
