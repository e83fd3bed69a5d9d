from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tenantkb.domain.errors import ConfigurationError
from tenantkb.ports.extraction import ChunkRecord
from tests.unit.sources.conftest import Checkout

ALL = [
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
    "RawRepoSource",
]


def names(chunks: list[ChunkRecord]) -> list[Any]:
    return [chunk["name"] for chunk in chunks]


@pytest.mark.parametrize("name", ALL)
def test_a_workspace_without_the_files_of_a_source_is_no_error(checkout, name):
    assert checkout.extract(name) == []
    assert checkout.diagnostics == []


def test_adrs_are_numbered_markdown_files_in_code_unit_order_trimmed(checkout):
    for name in ("0002-b.md", "0002-B.md", "12-x.md", "0003-c.MD", "x0001-a.md", "٠٠٠١-a.md"):
        checkout.write(f"learn/agentos/decisions/{name}", "\ufeff text \x85\n")
    chunks = checkout.extract("AdrSource")
    assert names(chunks) == ["0002-B", "0002-b"]
    assert chunks[0] == {
        "type": "adr",
        "kind": "adr",
        "name": "0002-B",
        "content": "text \x85",
        "source": "learn/agentos/decisions/0002-B.md",
        "hash": chunks[0]["hash"],
    }


def test_release_notes_are_verbatim_and_lose_the_first_suffix_of_their_name(checkout):
    checkout.write(".github/RELEASE_NOTES/v1.md.old.md", b"\r\n a\xff ")
    (chunk,) = checkout.extract("ReleaseNotesSource")
    assert chunk["name"] == "v1.old.md"
    assert chunk["content"] == "\r\n a\ufffd "


def test_a_concept_takes_name_and_tier_from_its_front_matter(checkout):
    checkout.write("resources/content/concepts/a.md", "---\nname: N\ntier: 2.50\n---\n B \n")
    checkout.write("resources/content/concepts/b.md", "---\nname: ''\ntier: 0\n---\nB")
    checkout.write("resources/content/concepts/c.md", "---\nname: [x, ~]\ntier: 2024-01-01\n---\n")
    first, second, third = checkout.extract("ConceptSource")
    assert list(first) == [
        *("type", "kind", "name", "tier", "description", "content", "source", "hash"),
    ]
    assert (first["name"], first["tier"]) == ("N", 2.5)
    assert (first["description"], first["content"]) == ("B", "N: B")
    assert (second["name"], second["tier"], second["content"]) == ("b", 0, "b: B")
    assert (third["name"], third["content"]) == (["x", None], "x,: ")
    assert third["tier"] == "2024-01-01T00:00:00.000Z"


def test_a_concept_with_broken_front_matter_costs_that_concept_only(checkout):
    checkout.write("resources/content/concepts/a.md", "---\n[\n---\n")
    checkout.write("resources/content/concepts/b.md", "---js\n{}\n---\n")
    checkout.write("resources/content/concepts/c.md", "fine")
    assert names(checkout.extract("ConceptSource")) == ["c"]
    assert set(checkout.failures) == {
        "resources/content/concepts/a.md",
        "resources/content/concepts/b.md",
    }


TICKET = (
    "# T\n\n### @a-b_C - 2026-01-01T00:00:00.5+01:00 \r\none\n## More\n"
    "### @x - 2026-01-01T0Z\ntwo\n\n"
)
PULL = (
    "body\n### `@a` (APPROVED (twice)) reviewed on 2026-01-01T0Z\nr1\n"
    "### `@a` commented on 2026-01-01T0Z\nc1\n### `@b` () reviewed on 2026-01-01T0Z\n"
    "### `@b` (X) reviewed on 2026-01-01T0Z\u2028\nr2"
)


def test_a_ticket_is_cut_at_its_comments_and_nothing_is_dropped(checkout):
    checkout.write("resources/content/issues/issue-7.md", TICKET)
    chunks = checkout.extract("TicketSource")
    assert names(chunks) == ["issue-7#body", "issue-7#comment-1", "issue-7#comment-2"]
    assert [chunk["content"] for chunk in chunks] == [
        "# T",
        "### @a-b_C - 2026-01-01T00:00:00.5+01:00 \r\none\n## More",
        "### @x - 2026-01-01T0Z\ntwo",
    ]


def test_reviews_and_comments_of_a_pull_request_are_numbered_apart(checkout):
    checkout.write("resources/content/pulls/pr-1.md", PULL)
    chunks = checkout.extract("PullRequestSource")
    assert names(chunks) == ["pr-1#body", "pr-1#review-1", "pr-1#comment-1", "pr-1#review-2"]
    assert chunks[2]["content"].endswith("### `@b` () reviewed on 2026-01-01T0Z")


@pytest.mark.parametrize(
    "line",
    [
        "### @a - 2026-01-01T0Z",
        " ### `@a` commented on 2026-01-01T0Z",
        "### `@ä` commented on 2026-01-01T0Z",
        "### `@a` commented on ٢٠26-01-01T0Z",
        "### `@a` commented on 2026-01-01T0Z\x85",
        "### `@a` commented on 2026-01-01T0Z.x",
    ],
)
def test_what_only_resembles_a_delimiter_stays_in_the_body(checkout, line):
    checkout.write("resources/content/discussions/discussion-1.md", f"a\n{line}\nb")
    (chunk,) = checkout.extract("DiscussionSource")
    assert chunk["name"] == "discussion-1#body"
    assert chunk["content"] == f"a\n{line}\nb"


def test_archives_are_in_the_order_of_whole_paths_by_utf16_units(checkout):
    for path in ("v1.0.0/a", "v1.0.0-b/a", "v1.0.0", "\uff5e", "😀"):
        checkout.write(f"resources/content/archive/issues/{path}.md")
    root = "resources/content/archive/issues/"
    sources = [chunk["source"] for chunk in checkout.extract("TicketSource")]
    assert [source.removeprefix(root) for source in sources] == [
        *("v1.0.0-b/a.md", "v1.0.0.md", "v1.0.0/a.md", "😀.md", "\uff5e.md"),
    ]


def test_an_index_gives_ids_by_path(checkout):
    for stem in ("a", "b", "c", "d"):
        checkout.write(f"resources/content/issues/{stem}.md")
    entries = [
        {"path": "./issues//a.md", "id": 12},
        {"path": "issues/b.md", "id": None},
        {"path": "issues/c.md"},
        {"id": 3},
    ]
    checkout.write("resources/content/issues/_index.json", json.dumps(entries))
    checkout.write("resources/content/_index.json", '[{"type": "issues", "path": "issues/d.md"}]')
    assert names(checkout.extract("TicketSource")) == [
        *("issue-12#body", "issue-null#body", "issue-c#body", "issue-d#body"),
    ]


def test_the_common_index_stands_in_for_a_missing_one_and_is_filtered_by_type(checkout):
    checkout.write("resources/content/pulls/a.md")
    checkout.write("resources/content/pulls/b.md")
    entries = [
        {"type": "pulls", "path": "pulls/a.md", "id": "x"},
        {"type": "issues", "path": "pulls/b.md", "id": "y"},
    ]
    checkout.write("resources/content/_index.json", json.dumps(entries))
    assert names(checkout.extract("PullRequestSource")) == ["pr-x#body", "pr-b#body"]


@pytest.mark.parametrize("content", ["{", "{}", "[NaN]", "[5]", '[{"path": 5}]', "\ufeff[]"])
def test_a_broken_index_is_a_failure_and_file_names_give_the_ids(checkout, content):
    checkout.write("resources/content/issues/issue-1.md")
    checkout.write("resources/content/issues/_index.json", content)
    assert names(checkout.extract("TicketSource")) == ["issue-1#body"]
    assert list(checkout.failures) == ["resources/content/issues/_index.json"]


def tree(checkout: Checkout, *items: Any, text: str = "# A\na\n## B\nb") -> list[ChunkRecord]:
    checkout.write("learn/tree.json", json.dumps({"data": items}))
    for item in items:
        if isinstance(item, dict) and isinstance(item.get("id"), str) and ".." not in item["id"]:
            checkout.write(f"learn/{item['id']}.md", text)
    return checkout.extract("LearningSource")


def test_guides_are_cut_into_sections_and_blogs_known_by_their_parent(checkout):
    chunks = tree(checkout, {"id": "g", "name": "G"}, {"id": "b", "name": 5, "parentId": "Blog"})
    assert names(chunks) == ["G - A", "G - B", "5 - A", "5 - B"]
    assert [chunk["type"] for chunk in chunks] == ["guide", "guide", "blog", "blog"]
    assert list(chunks[0]) == ["type", "kind", "name", "id", "content", "source", "hash"]
    assert (chunks[0]["content"], chunks[0]["source"]) == ("# A\na\n", "learn/g.md")


def test_a_guide_without_a_name_has_none_unless_it_has_sections(checkout):
    assert names(tree(checkout, {"id": "g"})) == ["undefined - A", "undefined - B"]
    (chunk,) = tree(checkout, {"id": "g"}, text="plain")
    assert "name" not in chunk


def test_comparisons_folders_and_items_without_id_are_left_out(checkout):
    items = [
        {"id": "comparisons"},
        {"id": "x", "parentId": "comparisons"},
        {"id": "folder", "isLeaf": False},
        {"id": "", "name": "e"},
        {"name": "none"},
        {"id": "kept", "isLeaf": None},
    ]
    assert {chunk["id"] for chunk in tree(checkout, *items)} == {"kept"}
    assert checkout.diagnostics == []


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"data": 5}', "null"])
def test_a_broken_tree_is_a_failure(checkout, content):
    checkout.write("learn/tree.json", content)
    assert checkout.extract("LearningSource") == []
    assert list(checkout.failures) == ["learn/tree.json"]


def test_an_id_cannot_reach_beyond_the_folder_of_the_tree(checkout):
    checkout.write("secret.md", "secret")
    assert (
        tree(checkout, {"id": "../secret", "name": "s"}, {"id": "g", "name": "g"}, text="t")[0][
            "name"
        ]
        == "g"
    )
    assert list(checkout.warnings) == ["learn/tree.json"]


def test_skill_files_come_by_depth_and_then_by_bytes_without_hidden_ones(checkout):
    for path in ("b/SKILL", "a/x/y", "Z/SKILL", "a/SKILL", ".h/SKILL", "a/.h", "é/SKILL"):
        checkout.write(f".agents/skills/{path}.md", "text")
    sources = [chunk["source"] for chunk in checkout.extract("SkillSource")]
    assert [source.removeprefix(".agents/skills/") for source in sources] == [
        *("Z/SKILL.md", "a/SKILL.md", "b/SKILL.md", "é/SKILL.md", "a/x/y.md"),
    ]


def test_a_skill_takes_name_and_trigger_from_lines_of_its_front_matter(checkout):
    text = "---\nname: The Name \ntriggers: [a, b]\n---\n\nintro\n## One \none\n##\n\ntwo\n"
    checkout.write(".agents/skills/s/SKILL.md", text)
    chunks = checkout.extract("SkillSource")
    assert names(chunks) == ["The Name", "The Name - One", "The Name"]
    assert chunks[1] == {
        "type": "skill",
        "kind": "skill",
        "name": "The Name - One",
        "content": "## One \none",
        "source": ".agents/skills/s/SKILL.md",
        "skillName": "The Name",
        "sectionAnchor": "One",
        "triggerCondition": "[a, b]",
        "isAtlasMonolithSubRule": False,
        "hash": chunks[1]["hash"],
    }


def test_section_triggers_decide_which_files_of_a_skill_are_sub_rules(checkout):
    trigger = "<!-- trigger: when → read assets/rule.md -->\n<!-- trigger: x → read ../u/o.md -->"
    checkout.write(".agents/skills/s/SKILL.md", f"## Map\n{trigger}\n")
    checkout.write(".agents/skills/s/assets/rule.md", "r")
    checkout.write(".agents/skills/s/references/no.md", "n")
    checkout.write(".agents/skills/u/o.md", f"# One sharp\n{trigger}")
    checkout.write(".agents/skills/u/references/yes.md", "y")
    marked = {
        chunk["source"].removeprefix(".agents/skills/"): chunk["isAtlasMonolithSubRule"]
        for chunk in checkout.extract("SkillSource")
    }
    assert marked == {
        "s/SKILL.md": False,
        "s/assets/rule.md": True,
        "s/references/no.md": False,
        "u/o.md": False,
        "u/references/yes.md": True,
    }


def test_linked_skills_are_followed_and_a_loop_ends(checkout, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "SKILL.md").write_text("linked")
    skills = checkout.root / ".agents/skills"
    skills.mkdir(parents=True)
    (skills / "linked").symlink_to(elsewhere)
    (elsewhere / "up").symlink_to(skills)
    (elsewhere / "self").symlink_to(elsewhere)
    chunks = checkout.extract("SkillSource")
    assert [chunk["source"] for chunk in chunks] == [".agents/skills/linked/SKILL.md"]


def test_modules_are_in_locale_order_and_carry_type_and_superclass(checkout):
    module = "const a = 1\nclass A {\n  static config = {className: 'N.A'}\n}\n"
    for path in ("lib/b.mjs", "lib/B.mjs", "lib/_a/x.mjs", "lib/node_modules/x.mjs", "lib/c.js"):
        checkout.write(path, module)
    checkout.write("docs/output/class-hierarchy.json", '{"N.A": "N.Base"}')
    chunks = checkout.extract("ApiSource", {"lib": "mine"})
    order = list(dict.fromkeys(chunk["source"] for chunk in chunks))
    assert order == ["lib/_a/x.mjs", "lib/b.mjs", "lib/B.mjs"]
    assert {(chunk["type"], chunk["extends"]) for chunk in chunks} == {("mine", "N.Base")}


def test_a_module_that_does_not_parse_is_a_warning(checkout):
    checkout.write("src/a.mjs", "x = ;")
    assert checkout.extract("ApiSource") == []
    assert list(checkout.warnings) == ["src/a.mjs"]
    assert checkout.failures == {}


def test_a_module_without_tests_is_one_chunk_as_is_one_that_does_not_parse(checkout):
    checkout.write("test/playwright/a.mjs", " const a = 1;\n")
    checkout.write("test/playwright/b.mjs", "x = ;")
    checkout.write("test/playwright/reports/c.mjs", "const c = 1;")
    checkout.write("test/playwright/.mjs", "const d = 1;")
    first, second = checkout.extract("TestSource")
    assert first == {
        "type": "test",
        "kind": "test-spec",
        "name": "test/playwright/a.mjs",
        "content": " const a = 1;\n",
        "source": "test/playwright/a.mjs",
        "hash": first["hash"],
    }
    assert second["content"] == "x = ;"
    assert list(checkout.notices) == ["test/playwright/b.mjs"]


def test_the_raw_source_takes_every_text_file_but_generated_ones(checkout):
    for path in ("b.txt", "A.md", "dist/x.js", "x/y/node_modules/z.js", "p.PNG", ".git/config"):
        checkout.write(path, "t")
    chunks = checkout.extract("RawRepoSource")
    assert names(chunks) == ["A.md", "b.txt"]
    assert list(chunks[0]) == [
        *("schemaVersion", "sourcePath", "source", "content", "hashInputs", "parserId"),
        *("parserVersion", "rootKind", "kind", "type", "name", "hash"),
    ]


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("b", ["a/c/x.py"]),
        ("a/b/**", ["a/c/x.py", "c/a/b/x.py"]),
        ("**/b/x.py", ["a/c/x.py"]),
        ("./a/b/", ["a/c/x.py"]),
        ("c/x", ["a/b/x.py", "a/c/x.py", "c/a/b/x.py"]),
    ],
)
def test_paths_are_excluded_by_pattern(checkout, pattern, left):
    for path in ("a/b/x.py", "a/c/x.py", "c/a/b/x.py"):
        checkout.write(path)
    assert names(checkout.extract("RawRepoSource", {"excludePaths": [pattern]})) == left


def test_only_included_extensions_are_taken_when_there_are_any(checkout):
    for path in ("a.PY", "b.md", "Makefile"):
        checkout.write(path)
    assert names(checkout.extract("RawRepoSource", {"includeExtensions": ["py"]})) == ["a.PY"]


def test_an_unknown_setting_of_the_raw_source_is_refused(checkout):
    with pytest.raises(ConfigurationError, match=r"RawRepoSource\.excludePath:"):
        checkout.extract("RawRepoSource", {"excludePath": []})


NOTES = ".github/RELEASE_NOTES"


def test_what_cannot_be_read_is_a_failure_and_the_rest_goes_on(checkout):
    checkout.write(f"{NOTES}/ok.md", "ok")
    (checkout.root / NOTES / "folder.md").mkdir()
    (checkout.root / NOTES / "dangling.md").symlink_to("nowhere")
    (checkout.root / NOTES / "loop.md").symlink_to("loop.md")
    os.mkfifo(checkout.root / NOTES / "pipe.md")
    assert names(checkout.extract("ReleaseNotesSource")) == ["ok"]
    assert {path.removeprefix(f"{NOTES}/") for path in checkout.failures} == {
        *("folder.md", "dangling.md", "loop.md", "pipe.md"),
    }


def test_a_configured_folder_that_is_a_file_is_a_failure(checkout):
    checkout.write(NOTES, "a file")
    assert checkout.extract("ReleaseNotesSource") == []
    assert list(checkout.failures) == [NOTES]


def test_links_out_of_the_folder_of_a_source_are_not_followed(checkout):
    checkout.write("secret/s.md", "secret")
    checkout.write(f"{NOTES}/inner.md", "inner")
    (checkout.root / NOTES / "alias.md").symlink_to("inner.md")
    (checkout.root / NOTES / "leak.md").symlink_to(checkout.root / "secret/s.md")
    issues = checkout.root / "resources/content/issues"
    issues.mkdir(parents=True)
    (issues / "leak").symlink_to(checkout.root / "secret")
    (issues / "up").symlink_to(issues)
    assert names(checkout.extract("ReleaseNotesSource")) == ["alias", "inner"]
    assert list(checkout.warnings) == [f"{NOTES}/leak.md"]
    assert checkout.extract("TicketSource") == []
    assert list(checkout.warnings) == ["resources/content/issues/leak"]
    assert checkout.failures == {}


def test_a_folder_that_is_a_link_out_of_the_workspace_is_a_failure(checkout, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/x.md").write_text("x")
    (checkout.root / ".github").mkdir()
    (checkout.root / NOTES).symlink_to(tmp_path / "outside")
    assert checkout.extract("ReleaseNotesSource") == []
    assert list(checkout.failures) == [NOTES]
    assert names(checkout.extract("ReleaseNotesSource", "../outside")) == ["x"]


def test_a_file_name_that_is_not_utf8_is_a_warning(checkout):
    checkout.write(f"{NOTES}/ok.md")
    (checkout.root / os.fsdecode(NOTES.encode() + b"/\xff.md")).write_text("x")
    assert names(checkout.extract("ReleaseNotesSource")) == ["ok"]
    assert list(checkout.warnings) == [f"{NOTES}/\ufffd.md"]
