from __future__ import annotations

import io
import json

import pytest

from tenantkb.adapters.configuration.settings import WorkspaceSettings
from tenantkb.adapters.sources.registry import WorkspaceSources
from tenantkb.application.writing.create import create
from tenantkb.domain.canonical import content_fingerprint
from tenantkb.domain.errors import ConfigurationError, InvalidInputError
from tenantkb.domain.extraction import Severity
from tenantkb.ports.extraction import CreateHash, SourceFactory, WriteStream


class Two:
    def __init__(self, workspace):
        pass

    def extract(self, write_stream: WriteStream, create_hash: CreateHash) -> int:
        for name in ("a", "b"):
            chunk = {"type": "t", "name": name}
            write_stream.write(json.dumps({**chunk, "hash": create_hash(chunk)}) + "\n")
        return 2


class BreaksOff(Two):
    def extract(self, write_stream: WriteStream, create_hash: CreateHash) -> int:
        super().extract(write_stream, create_hash)
        raise LookupError("the\nsecond page")


class Misconfigured(Two):
    def extract(self, write_stream: WriteStream, create_hash: CreateHash) -> int:
        raise ConfigurationError("no such setting")


def registry(**sources: SourceFactory) -> WorkspaceSources:
    result = WorkspaceSources(
        WorkspaceSettings(use_default_sources=False, hierarchy_path="classes.json")
    )
    for name, source in sources.items():
        result.sources.register(name, source)
    return result


@pytest.fixture
def root(tmp_path):
    (tmp_path / "classes.json").write_text("{}")
    return tmp_path


def test_lines_and_counts_of_all_sources_are_in_registry_order(root):
    out = io.StringIO()
    report = create(registry(B=Two, A=Two), root, out)
    assert list(report.counts.items()) == [("B", 2), ("A", 2)]
    assert report.total == 4
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["name"] for line in lines] == ["a", "b", "a", "b"]
    assert all(line["hash"] == content_fingerprint(line) for line in lines)
    assert report.is_complete


def test_a_source_that_breaks_off_is_a_failure_and_the_others_run(root):
    out = io.StringIO()
    report = create(registry(First=BreaksOff, Then=Two), root, out)
    [found] = report.diagnostics
    assert (found.path, found.message) == (
        "First",
        "the source broke off: LookupError: the second page",
    )
    assert (found.severity, report.tells_what_is_gone) == (Severity.FAILURE, False)
    assert dict(report.counts) == {"First": 2, "Then": 2}
    assert len(out.getvalue().splitlines()) == 4
    assert not report.is_complete


@pytest.mark.parametrize("text", ["[1]\n", "{}", "{}\n{}\n", "{", "\n", ""])
def test_a_source_writes_one_object_a_line_or_breaks_off(root, text):
    class Writes(Two):
        def extract(self, write_stream: WriteStream, create_hash: CreateHash) -> int:
            write_stream.write(text)
            return 1

    out = io.StringIO()
    report = create(registry(First=Writes, Then=Two), root, out)
    assert [(each.path, each.severity) for each in report.diagnostics] == [
        ("First", Severity.FAILURE)
    ]
    assert dict(report.counts) == {"First": 0, "Then": 2}
    assert len(out.getvalue().splitlines()) == 2


def test_an_output_that_cannot_be_written_ends_the_run(root):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        create(registry(A=Two, B=Two), root, Full())


def test_a_configuration_error_ends_the_run(root):
    with pytest.raises(ConfigurationError, match="no such setting"):
        create(registry(A=Misconfigured), root, io.StringIO())


@pytest.mark.parametrize("name", ["missing", "classes.json"])
def test_a_workspace_that_is_no_folder_is_refused(root, name):
    with pytest.raises(InvalidInputError, match=name):
        create(registry(), root / name, io.StringIO())


def test_an_empty_workspace_has_no_chunks_and_no_failures(root):
    out = io.StringIO()
    report = create(WorkspaceSources(WorkspaceSettings(hierarchy_path="classes.json")), root, out)
    assert (report.total, report.diagnostics, out.getvalue()) == (0, (), "")
