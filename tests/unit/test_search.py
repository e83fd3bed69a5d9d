"""Files and texts that answer a question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tenantkb.adapters.stores.memory import MemoryEngine
from tenantkb.application.reading.context import TOKENS_MAXIMUM, FilledContext
from tenantkb.application.reading.search import FoundFile
from tenantkb.domain.errors import AuthenticationError, InvalidInputError
from tenantkb.domain.natures import Nature
from tenantkb.domain.passages import tokens_of
from tenantkb.domain.rows import Criteria
from tests.composition import ADA, EVE, Application, compose


@pytest.fixture
def app(tmp_path: Path) -> Application:
    return compose(tmp_path / "state", MemoryEngine())


def chunk(name: str, text: str, **more: Any) -> dict[str, Any]:
    return {"type": "src", "kind": "src", "name": name, "content": text, "source": "a.py", **more}


def lines(first: int, *texts: str) -> dict[str, Any]:
    """A chunk that is these lines of its file."""
    last = first + len(texts) - 1
    return chunk(f"n{first}", "\n".join(texts), line_start=first, line_end=last)


def search(app: Application, text: str, **how: Any) -> list[FoundFile]:
    return app.knowledge_base.search(app.context(ADA), text, **how)


def fill(app: Application, text: str, **how: Any) -> FilledContext:
    return app.knowledge_base.context(app.context(ADA), text, **how)


def places(found: list[FoundFile]) -> list[tuple[str, list[tuple[int, int] | None]]]:
    return [(each.path.source_path, [passage.span for passage in each.passages]) for each in found]


def test_chunks_that_touch_are_one_passage_of_their_file(app: Application) -> None:
    app.embed(
        ADA,
        [
            lines(1, "zebra one", "about it"),
            lines(3, "zebra zebra"),
            lines(9, "one more zebra"),
            chunk("far", "nothing to see", source="b.py"),
        ],
    )
    best, *others = search(app, "zebra", content=True)
    assert places([best]) == [("a.py", [(1, 3), (9, 9)])]
    first, second = best.passages
    assert first.content == "zebra one\nabout it\nzebra zebra"
    assert (first.lines, second.lines) == ([(1, 1), (3, 3)], [(9, 9)])
    assert "zebra" in first.snippet
    assert [document.name for document in first.documents] == ["n3", "n1"]
    assert best.score == max(first.score, second.score) == first.score
    assert first.parts.bm25 > 0
    assert [each.path.source_path for each in others] == ["b.py"]
    assert search(app, "zebra")[0].passages[0].content is None


def test_of_a_file_there_are_so_many_chunks_and_of_files_so_many_a_page(app: Application) -> None:
    for name in "abcd":
        app.embed(
            ADA,
            [
                chunk(f"{name}{n}", "zebra " * (5 - n) + name * n, source=f"{name}.py")
                for n in range(4)
            ],
        )
    found = search(app, "zebra", limit=2, per_file=1)
    assert [len(each.passages) for each in found] == [1, 1]
    everything = search(app, "zebra", per_file=9)
    assert [len(each.passages) for each in everything] == [4] * 4
    pages = [search(app, "zebra", limit=2, page=page, per_file=9) for page in (1, 2, 3)]
    assert [each for page in pages for each in page] == everything
    assert pages[2] == []


def test_criteria_and_preference_are_those_of_a_query(app: Application) -> None:
    app.embed(
        ADA,
        [
            chunk("same", "one zebra", source="src/one.py"),
            chunk("same", "one zebra ", source="tests/one.py"),
        ],
    )
    for ask in (search, lambda *args, **how: fill(*args, **how).citations):
        assert [each.path.source_path for each in ask(app, "zebra", prefer=Nature.TESTS)] == [
            "tests/one.py",
            "src/one.py",
        ]
        narrowed = ask(app, "zebra", criteria=Criteria(path="src/"))
        assert [each.path.source_path for each in narrowed] == ["src/one.py"]


@pytest.mark.parametrize(
    "how",
    [{"limit": 0}, {"limit": True}, {"page": 0}, {"page": "1"}, {"per_file": 0}, {"per_file": 1.5}],
)
def test_numbers_out_of_range_are_refused(app: Application, how: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        search(app, "x", **how)


@pytest.mark.parametrize("tokens", [0, 99, TOKENS_MAXIMUM + 1, True, "200", None])
def test_room_for_too_few_or_too_many_tokens_is_refused(app: Application, tokens: Any) -> None:
    with pytest.raises(InvalidInputError):
        fill(app, "x", tokens=tokens)


def test_whoever_is_not_authenticated_is_told_nothing(app: Application) -> None:
    for ask in (app.knowledge_base.search, app.knowledge_base.context):
        with pytest.raises(AuthenticationError):
            ask("acme", "x")  # type: ignore[arg-type]


def test_a_context_is_read_in_order_with_numbers_and_places(app: Application) -> None:
    app.embed(
        ADA,
        [
            lines(9, "zebra zebra"),
            lines(3, "zebra two"),
            lines(1, "the first zebra", "which says more"),
            chunk("far", "a zebra far away", source="b.md"),
            chunk("copy", "zebra zebra", source="copy.py"),
        ],
    )
    filled = fill(app, "zebra zebra")
    assert filled.text == (
        "[1] acme:app a.py:1-3\nthe first zebra\nwhich says more\nzebra two\n\n"
        "[2] acme:app a.py:9-9\nzebra zebra\n\n"
        "[3] acme:app b.md\na zebra far away\n\n"
    ) or filled.text.startswith("[1] acme:app copy.py\nzebra zebra\n\n")
    assert filled.text.count("zebra zebra") == 1
    assert filled.tokens == tokens_of(filled.text)
    assert [each.number for each in filled.citations] == list(range(1, len(filled.citations) + 1))
    assert all(each.is_whole and each.text in filled.text for each in filled.citations)
    assert "".join(each.told for each in filled.citations) == filled.text


@pytest.mark.parametrize("tokens", [100, 150, 400, 4000])
@pytest.mark.parametrize("word", ["zebra", "зебра", "縞馬"])
def test_a_context_fits_and_ends_with_a_part(app: Application, tokens: int, word: str) -> None:
    texts = [f"{word} number {n}\n" + f"filler of chunk {n}\n" * 40 for n in range(30)]
    app.embed(ADA, [chunk(f"n{n}", text, source=f"{n}.py") for n, text in enumerate(texts)])
    filled = fill(app, word, tokens=tokens)
    assert tokens / 2 < filled.tokens <= tokens
    *whole, last = filled.citations
    assert all(each.is_whole for each in whole)
    assert word in last.text
    assert not last.is_whole or tokens - filled.tokens < 100


def test_a_part_tells_its_own_lines(app: Application) -> None:
    texts = ["filler"] * 100 + ["the zebra is here"] + ["filler"] * 100
    app.embed(ADA, [lines(11, *texts)])
    [citation] = fill(app, "zebra", tokens=100).citations
    assert citation.span is not None
    first, last = citation.span
    assert citation.text.split("\n") == texts[first - 11 : last - 10]
    assert first <= 111 <= last


def test_without_rows_there_is_nothing(app: Application) -> None:
    app.embed(EVE, [chunk("hers", "zebra")])
    assert search(app, "zebra") == []
    assert fill(app, "zebra") == FilledContext("", [], 0)
