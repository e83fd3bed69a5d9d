from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters.registry import DEFAULT_PARSERS, DEFAULT_SOURCES, WorkspaceSources
from domain.errors import ConfigurationError
from domain.extraction import Diagnostic, Severity


class Nothing:
    def __init__(self, workspace):
        self.workspace = workspace

    def extract(self, write_stream, create_hash):
        return 0


def built(
    registry: WorkspaceSources, root: Path = Path()
) -> tuple[dict[str, Any], list[Diagnostic]]:
    found: list[Diagnostic] = []
    return dict(registry.build(root, found.append)), found


def test_the_ten_default_sources_stand_in_extraction_order():
    assert WorkspaceSources().names() == [
        "AdrSource",
        "ApiSource",
        "ConceptSource",
        "DiscussionSource",
        "LearningSource",
        "PullRequestSource",
        "ReleaseNotesSource",
        "SkillSource",
        "TicketSource",
        "TestSource",
    ]


def test_every_registered_text_names_a_class_of_the_registered_name():
    registry = WorkspaceSources(raw_repo_source=True)
    for entries in (registry.sources, registry.parsers):
        for name in entries.names():
            assert entries.factory(name).__name__ == name


def test_the_raw_source_is_opt_in_and_comes_last():
    assert "RawRepoSource" not in WorkspaceSources().sources
    assert WorkspaceSources(raw_repo_source=True).names() == [*DEFAULT_SOURCES, "RawRepoSource"]


def test_defaults_can_be_left_out():
    registry = WorkspaceSources(use_default_sources=False, use_default_parsers=False)
    assert registry.names() == []
    assert registry.parsers.names() == []


def test_a_registered_source_comes_after_the_others_and_gets_its_paths(tmp_path):
    registry = WorkspaceSources({"Nothing": ["here"]})
    registry.sources.register("Nothing", Nothing)
    sources, _ = built(registry, tmp_path)
    assert list(sources)[-1] == "Nothing"
    assert sources["Nothing"].workspace.paths == ["here"]
    assert sources["Nothing"].workspace.root == tmp_path


def test_a_source_can_be_registered_by_a_text_that_is_imported_at_first_use(tmp_path):
    registry = WorkspaceSources(use_default_sources=False)
    registry.sources.register("Again", "adapters.sources.adr:AdrSource")
    assert type(built(registry, tmp_path)[0]["Again"]).__name__ == "AdrSource"


def test_a_name_is_not_replaced_unasked_and_a_replacement_keeps_its_place():
    registry = WorkspaceSources()
    with pytest.raises(ConfigurationError, match="already"):
        registry.sources.register("ApiSource", Nothing)
    registry.sources.register("ApiSource", Nothing, replace=True)
    assert registry.names() == list(DEFAULT_SOURCES)
    assert registry.sources.factory("ApiSource") is Nothing


def test_unregistering_removes_a_source_of_this_registry_only():
    registry = WorkspaceSources()
    registry.sources.unregister("SkillSource")
    assert "SkillSource" not in registry.sources
    assert "SkillSource" in WorkspaceSources().sources


@pytest.mark.parametrize("act", ["unregister", "factory"])
def test_an_unknown_name_is_answered_with_the_known_ones(act):
    with pytest.raises(ConfigurationError, match=", ".join(DEFAULT_PARSERS)):
        getattr(WorkspaceSources().parsers, act)("NoParser")


def test_paths_of_an_unknown_source_are_refused():
    with pytest.raises(ConfigurationError, match=r"no source ApiSuorce.*ApiSource"):
        built(WorkspaceSources({"ApiSuorce": {}}))


@pytest.mark.parametrize(
    "text",
    ["no.such.module:X", "adapters.registry:Missing", "adapters.registry:HIERARCHY_PATH", ""],
)
def test_a_factory_that_cannot_be_loaded_is_a_configuration_error(text):
    registry = WorkspaceSources()
    registry.sources.register("Broken", text)
    with pytest.raises(ConfigurationError, match="Broken"):
        built(registry)


def test_parsers_are_made_once_for_each_workspace(tmp_path):
    sources, _ = built(WorkspaceSources(), tmp_path)
    again, _ = built(WorkspaceSources(), tmp_path)
    parser = sources["ApiSource"].workspace.parser("TestParser")
    assert sources["TestSource"].workspace.parser("TestParser") is parser
    assert again["TestSource"].workspace.parser("TestParser") is not parser


def test_the_class_hierarchy_reaches_every_source(tmp_path):
    (tmp_path / "classes.json").write_text('\ufeff{"A": "B"}', encoding="utf-8")
    sources, found = built(WorkspaceSources(hierarchy_path="classes.json"), tmp_path)
    assert sources["ApiSource"].workspace.hierarchy == {"A": "B"}
    assert found == []


@pytest.mark.parametrize("content", [None, "{", "[]", "\udcff"])
def test_without_a_usable_class_hierarchy_there_is_one_notice(tmp_path, content):
    if content is not None:
        (tmp_path / "classes.json").write_text(content, encoding="utf-8", errors="surrogateescape")
    sources, found = built(WorkspaceSources(hierarchy_path="classes.json"), tmp_path)
    assert sources["ApiSource"].workspace.hierarchy == {}
    assert [(each.path, each.severity) for each in found] == [("classes.json", Severity.NOTICE)]
