from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tenantkb.adapters.configuration.settings import FactorySettings, WorkspaceSettings
from tenantkb.adapters.sources.registry import DEFAULT_PARSERS, DEFAULT_SOURCES, WorkspaceSources
from tenantkb.domain.errors import ConfigurationError
from tenantkb.domain.extraction import Diagnostic, Severity
from tenantkb.ports.extraction import ParseJob


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


ROOT = Path(__file__).parents[2]


def registered(**settings: Any) -> WorkspaceSources:
    return WorkspaceSources(WorkspaceSettings(**settings), import_path=[ROOT])


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
    registry = registered(raw_repo_source=True)
    for entries in (registry.sources, registry.parsers):
        for name in entries.names():
            assert entries.recipe(name).load().__name__ == name


def test_the_raw_source_is_opt_in_and_comes_last():
    assert "RawRepoSource" not in WorkspaceSources().sources
    assert registered(raw_repo_source=True).names() == [*DEFAULT_SOURCES, "RawRepoSource"]


def test_defaults_can_be_left_out():
    registry = registered(use_default_sources=False, use_default_parsers=False)
    assert registry.names() == []
    assert registry.parsers.names() == []


def test_a_registered_source_comes_after_the_others_and_gets_its_paths(tmp_path):
    registry = registered(source_paths={"Nothing": ["here"]})
    registry.sources.register("Nothing", Nothing)
    sources, _ = built(registry, tmp_path)
    assert list(sources)[-1] == "Nothing"
    assert sources["Nothing"].workspace.paths == ["here"]
    assert sources["Nothing"].workspace.root == tmp_path


def test_a_source_can_be_registered_by_a_text_that_is_imported_at_first_use(tmp_path):
    registry = registered(use_default_sources=False)
    registry.sources.register("Again", "tenantkb.adapters.sources.adr:AdrSource")
    assert type(built(registry, tmp_path)[0]["Again"]).__name__ == "AdrSource"


def test_a_name_is_not_replaced_unasked_and_a_replacement_keeps_its_place():
    registry = WorkspaceSources()
    with pytest.raises(ConfigurationError, match="already"):
        registry.sources.register("ApiSource", Nothing)
    registry.sources.register("ApiSource", Nothing, replace=True)
    assert registry.names() == list(DEFAULT_SOURCES)
    assert registry.sources.recipe("ApiSource").load() is Nothing


def test_unregistering_removes_a_source_of_this_registry_only():
    registry = WorkspaceSources()
    registry.sources.unregister("SkillSource")
    assert "SkillSource" not in registry.sources
    assert "SkillSource" in WorkspaceSources().sources


@pytest.mark.parametrize("act", ["unregister", "recipe", "make"])
def test_an_unknown_name_is_answered_with_the_known_ones(act):
    with pytest.raises(ConfigurationError, match=", ".join(DEFAULT_PARSERS)):
        getattr(WorkspaceSources().parsers, act)("NoParser")


def test_paths_of_an_unknown_source_are_refused():
    with pytest.raises(ConfigurationError, match=r"no source ApiSuorce.*ApiSource"):
        built(registered(source_paths={"ApiSuorce": {}}))


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("AdrSource", ["a"]),
        ("ApiSource", "src"),
        ("TicketSource", [3]),
        ("LearningSource", {}),
        ("CodeSource", 3),
    ],
)
def test_paths_of_another_shape_than_the_source_reads_are_refused(name, paths):
    with pytest.raises(ConfigurationError, match=rf"source {name}: source_paths: expected "):
        built(registered(source_paths={name: paths}, code_source=True))


def test_one_folder_will_do_where_a_source_reads_several():
    sources, _ = built(registered(source_paths={"TicketSource": "tickets"}))
    assert sources["TicketSource"].paths == ("tickets",)


@pytest.mark.parametrize(
    "text",
    [
        "no.such.module:X",
        "tenantkb.adapters.sources.registry:Missing",
        "tenantkb.adapters.sources.registry:HIERARCHY_PATH",
        "",
    ],
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
    sources, found = built(registered(hierarchy_path="classes.json"), tmp_path)
    assert sources["ApiSource"].workspace.hierarchy == {"A": "B"}
    assert found == []


@pytest.mark.parametrize("content", [None, "{", "[]", "\udcff"])
def test_without_a_usable_class_hierarchy_there_is_one_notice(tmp_path, content):
    if content is not None:
        (tmp_path / "classes.json").write_text(content, encoding="utf-8", errors="surrogateescape")
    sources, found = built(registered(hierarchy_path="classes.json"), tmp_path)
    assert sources["ApiSource"].workspace.hierarchy == {}
    assert [(each.path, each.severity) for each in found] == [("classes.json", Severity.NOTICE)]


WRONG = {
    "none": None,
    "object": {"content": "a"},
    "text": "chunk",
    "set": [{"content": {"a"}}],
    "key": [{"content": {1: "a"}}],
    "function": [{"content": print}],
}
"""What is not a list of JSON objects."""


class Lines:
    """A parser: one chunk a line."""

    def __init__(self, kind="line"):
        self.kind = kind

    def parse(self, content, path, **hints):
        if content.startswith("!"):
            raise LookupError("no such line")
        if content in WRONG:
            return WRONG[content]
        if content == "exit":
            raise SystemExit(0)
        return [{"kind": self.kind, "content": line} for line in content.splitlines()]


LINES = f"{__name__}:Lines"
"""Which a worker process finds, as users' modules, in the folders of ``import_path``."""


def parsed(registry: WorkspaceSources, *jobs: ParseJob, parser: str = "Lines") -> list[Any]:
    """What a source gets that has files parsed by one parser."""
    registry.sources.register("Nothing", Nothing)
    for _, source in registry.build(Path(), lambda _: None):
        if isinstance(source, Nothing):
            return [found for _, found in source.workspace.parse_all(parser, jobs)]
    return []


def test_configured_sources_stand_behind_the_default_ones_and_before_those_that_take_every_file():
    registry = registered(
        custom_sources={"B": FactorySettings("x:B"), "A": FactorySettings("x:A")},
        raw_repo_source=True,
        code_source=True,
    )
    assert registry.names() == [*DEFAULT_SOURCES, "B", "A", "RawRepoSource", "CodeSource"]


def test_options_reach_the_factory():
    registry = registered(custom_parsers={"Lines": FactorySettings(LINES, {"kind": "row"})})
    assert parsed(registry, ParseJob("a\nb", "x")) == [
        [{"kind": "row", "content": "a"}, {"kind": "row", "content": "b"}]
    ]


def test_a_wrong_option_is_told_with_the_entry():
    registry = registered(custom_parsers={"Lines": FactorySettings(LINES, {"knid": "row"})})
    with pytest.raises(ConfigurationError, match=r"parser .*Lines cannot be made: .*knid"):
        parsed(registry, ParseJob("a", "x"))


def test_a_configured_entry_replaces_a_default_one_only_if_it_says_so():
    entry = FactorySettings(LINES)
    with pytest.raises(ConfigurationError, match="source AdrSource already"):
        registered(custom_sources={"AdrSource": entry})
    with pytest.raises(ConfigurationError, match="parser LineParser already"):
        registered(custom_parsers={"LineParser": entry}, code_source=True)
    registry = registered(custom_sources={"AdrSource": FactorySettings(LINES, replace=True)})
    assert registry.names() == list(DEFAULT_SOURCES)
    assert registry.sources.recipe("AdrSource").load() is Lines


def test_a_parser_is_chosen_by_name_or_path_whatever_the_source_asks_for():
    registry = registered(
        custom_parsers={"Lines": FactorySettings(LINES)},
        parser_patterns={"docs/*.txt": "DocumentationParser", "*.TXT": "Lines", "*": "TestParser"},
    )
    assert registry.parser_of("docs/a/b.txt", "SourceParser") == "DocumentationParser"
    assert registry.parser_of("other/a.txt", "SourceParser") == "Lines"
    assert registry.parser_of("Makefile", "SourceParser") == "TestParser"
    assert registered().parser_of("a.txt", "SourceParser") == "SourceParser"


def test_a_pattern_wins_over_the_parser_that_a_source_names():
    registry = registered(
        custom_parsers={"Lines": FactorySettings(LINES)}, parser_patterns={"*.txt": "Lines"}
    )
    jobs = [ParseJob("a", "x.txt"), ParseJob("const b = 1;", "x.mjs"), ParseJob("c", "y.txt")]
    found = parsed(registry, *jobs, parser="SourceParser")
    assert [[chunk["kind"] for chunk in chunks] for chunks in found] == [
        ["line"],
        ["module-context"],
        ["line"],
    ]


def test_a_pattern_for_an_unknown_parser_is_refused():
    with pytest.raises(ConfigurationError, match="parser_patterns: there is no parser Lnies"):
        built(registered(parser_patterns={"*.txt": "Lnies"}))


def test_large_input_is_parsed_by_configured_parsers_in_other_processes_too(tmp_path, monkeypatch):
    (tmp_path / "elsewhere.py").write_text(
        "import os\n"
        "class Where:\n"
        "    def __init__(self, mark): self.mark = mark\n"
        "    def parse(self, content, path, **hints):\n"
        "        return [{'mark': self.mark, 'process': os.getpid()}]\n"
    )
    registry = WorkspaceSources(
        WorkspaceSettings(
            custom_parsers={"Lines": FactorySettings("elsewhere:Where", {"mark": "m"})}
        ),
        import_path=[tmp_path],
        workers=2,
    )
    monkeypatch.setattr(sys, "path", list(sys.path))
    found = parsed(registry, *(ParseJob("x" * 200_000, str(n)) for n in range(8)))
    assert {chunk["mark"] for [chunk] in found} == {"m"}
    processes = {chunk["process"] for [chunk] in found}
    assert len(processes) == 2
    assert os.getpid() not in processes


def test_a_parser_that_fails_costs_one_file():
    registry = registered(custom_parsers={"Lines": FactorySettings(LINES)})
    [bad, good] = parsed(registry, ParseJob("!", "a"), ParseJob("b", "b"))
    assert str(bad) == "the parser broke off: LookupError: no such line"
    assert good == [{"kind": "line", "content": "b"}]


@pytest.mark.parametrize("is_portable", [False, True])
@pytest.mark.parametrize("wrong", [*WRONG, "exit"])
def test_what_is_no_list_of_json_objects_costs_one_file(is_portable, wrong):
    registry = registered()
    registry.parsers.register("Lines", LINES if is_portable else Lines)
    [bad, good] = parsed(registry, ParseJob(wrong, "a"), ParseJob("b", "b"))
    assert str(bad).startswith("the parser ")
    assert good == [{"kind": "line", "content": "b"}]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package that offers a source and a parser, as pip leaves it."""
    info = tmp_path / "runbooks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: runbooks\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[tenantkb.sources]\nZ = {__name__}:Nothing\nB = {__name__}:Nothing\n"
        f"[tenantkb.parsers]\nLines = {LINES}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("installed")
def test_installed_packages_offer_sources_and_parsers_by_entry_points():
    registry = registered(custom_sources={"A": FactorySettings(f"{__name__}:Nothing")})
    assert registry.names() == [*DEFAULT_SOURCES, "B", "Z", "A"]
    assert parsed(registry, ParseJob("a", "x")) == [[{"kind": "line", "content": "a"}]]


@pytest.mark.usefixtures("installed")
def test_a_package_that_offers_a_name_that_is_taken_is_named_with_the_remedy(tmp_path):
    points = tmp_path / "runbooks-1.0.dist-info" / "entry_points.txt"
    points.write_text(f"[tenantkb.sources]\nAdrSource = {__name__}:Nothing\n")
    with pytest.raises(ConfigurationError, match=r"runbooks offers AdrSource: .*use_entry_points"):
        registered()


@pytest.mark.usefixtures("installed")
def test_entry_points_can_be_left_out():
    registry = registered(use_entry_points=False)
    assert registry.names() == list(DEFAULT_SOURCES)
    assert "Lines" not in registry.parsers
