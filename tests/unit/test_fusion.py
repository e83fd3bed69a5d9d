"""How two arms' scores become an order, and the laws of that order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.fusion import (
    ARCHIVE_PART,
    CANDIDATES,
    Candidate,
    Hit,
    Question,
    normalised,
    page,
    proposed,
    ranked,
)
from tenantkb.domain.ids import ChunkId, RowKey
from tenantkb.domain.natures import (
    Nature,
    is_change_log,
    is_documentation,
    is_test_path,
    nature_of,
)
from tenantkb.domain.paths import PathIdentity, RootKind
from tenantkb.domain.rows import StampedRow
from tenantkb.domain.stamps import TenantStamp, Visibility

QUESTION = Question.of("how are rows kept")


def row(
    number: int,
    path: str = "src/a.py",
    *,
    repo: str = "app",
    tenant: str = "acme",
    private: bool = False,
    **said: str,
) -> StampedRow:
    stamp = TenantStamp(
        tenant_id=tenant,
        repo_slug=repo,
        visibility=Visibility.PRIVATE if private else Visibility.TEAM,
        origin_agent_identity="ann" if private else None,
        ingested_at=None,
    )
    place = PathIdentity(tenant, repo, RootKind.BARE_REPO, path)
    fields = {"type": "code", "name": "x", "content": "", **said}
    return StampedRow(ChunkId(f"{number:04}"), place, stamp, fields)


def hits(*rows: StampedRow) -> list[Hit]:
    """Hits in this order: each of a higher score than the next."""
    count = len(rows)
    scores = [(count - position) / count for position in range(count)]
    return [Hit(Candidate(each, 0, 0), score, 0) for each, score in zip(rows, scores, strict=True)]


def numbers(found: list[Hit]) -> list[int]:
    return [int(hit.row.id) for hit in found]


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    paths = st.sampled_from(
        ["src/a.py", "src/b.py", "tests/test_a.py", "CHANGELOG.md", "docs/a.md"]
    )
    classes = st.sampled_from(["", "Base", "Store", "Rows"])
    scores = st.floats(-1, 1) | st.sampled_from([0.0, 0.5])
    return [
        Candidate(
            row(
                number,
                draw(paths),
                repo=draw(st.sampled_from(["app", "lib"])),
                type=draw(st.sampled_from(["code", "ticket"])),
                className=draw(classes),
                extends=draw(classes),
            ),
            draw(scores),
            draw(st.floats(0, 30) | st.just(0.0)),
        )
        for number in draw(st.sets(st.integers(0, 99), max_size=12))
    ]


# Candidates


def test_candidates_are_the_best_of_each_arm_and_equal_ones_are_taken_by_id() -> None:
    keys = [RowKey("t", ChunkId(f"{number:04}")) for number in range(CANDIDATES + 10)]
    lexical = dict.fromkeys(reversed(keys), 1.0)
    vector = {keys[-1]: 0.9, keys[-2]: -0.5}
    assert proposed(vector, lexical) == [*keys[:CANDIDATES], keys[-2], keys[-1]]
    assert proposed() == []


# Scores


def test_a_score_is_the_weighted_sum_of_both_arms_by_hand() -> None:
    found = ranked(
        QUESTION,
        [Candidate(row(1), 0.2, 6.0), Candidate(row(2), 0.8, 0.0), Candidate(row(3), 0.5, 3.0)],
        vector_weight=0.3,
    )
    assert [(hit.row.id, hit.score) for hit in found] == [
        ("0001", 0.7),
        ("0003", 0.5),
        ("0002", 0.3),
    ]
    assert found[1].vector == pytest.approx(0.15)
    assert found[1].lexical == pytest.approx(0.35)


@given(st.lists(st.floats(-10, 10), min_size=1))
def test_normalised_scores_span_0_to_1_and_keep_their_order(scores: list[float]) -> None:
    found = normalised(scores)
    if min(scores) == max(scores):
        assert set(found) == {0.0}
    else:
        assert (min(found), max(found)) == (0.0, 1.0)
    by_score = sorted(zip(scores, found, strict=True))
    assert [each for _, each in by_score] == sorted(found)


def test_an_arm_that_says_nothing_counts_nothing() -> None:
    found = ranked(QUESTION, [Candidate(row(n), 0.7, score) for n, score in ((1, 1.0), (2, 2.0))])
    assert [(hit.vector, hit.lexical) for hit in found] == [(0.0, 0.65), (0.0, 0.0)]


@given(candidates(), st.randoms())
def test_the_order_of_the_candidates_is_of_no_account(found: list[Candidate], random) -> None:
    shuffled = found[:]
    random.shuffle(shuffled)
    assert ranked(QUESTION, shuffled) == ranked(QUESTION, found)


@given(candidates())
def test_answers_come_by_score_and_equal_ones_by_id(found: list[Candidate]) -> None:
    answers = ranked(QUESTION, found)
    pairs = [(-hit.strength, hit.row.id) for hit in answers]
    assert pairs == sorted(pairs)
    assert all(0 <= hit.score <= 1 for hit in answers)


def test_rows_with_one_id_come_by_label() -> None:
    mine, ours = row(1, private=True), row(1)
    found = ranked(QUESTION, [Candidate(each, 0.5, 1.0) for each in (ours, mine)])
    assert [hit.row.key for hit in found] == sorted([mine.key, ours.key])


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_weight_is_a_share(weight: float) -> None:
    with pytest.raises(InvalidInputError, match="0 to 1"):
        ranked(QUESTION, [], vector_weight=weight)


# Names


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("where is GuardedStore?", "GuardedStore"),
        ("where does GuardedStore.query end.", "GuardedStore.query"),
        ("what is in guard.py.", "guard.py"),
        ("look at application/guard.py", "application/guard.py"),
        ("how to style a Button", "Button"),
        ("what does `query` do", "query"),
        ("what does query() do", "query"),
        (" query ", "query"),
        ("how to use max_size", "max_size"),
        ("what does utf8 mean", "utf8"),
        ("the rules of Garbage collection here", "Garbage collection"),
        ("Base.mjs and Base", "Base"),
        ("std::Vector", "Vector"),
    ],
)
def test_a_question_mentions_a_name(text: str, name: str) -> None:
    assert Question.of(text).mentions(name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("how do I query rows", "query"),
        ("Search for rows", "Search"),
        ("where is guardedstore?", "GuardedStore"),
        ("where is GuardedStores?", "GuardedStore"),
        ("where is MyGuardedStore?", "GuardedStore"),
        ("what extends core.Base", "Base"),
        ("what is in Base.mjs", "Base"),
        ("what is in lib/Base", "Base"),
        ("GuardedStore.query", "GuardedStore"),
        ("the Content-Type header", "Content"),
        ("is A a class", "A"),
        ("what is it", ""),
        ("", "query"),
    ],
)
def test_a_question_does_not_mention_a_name(text: str, name: str) -> None:
    assert not Question.of(text).mentions(name)


@pytest.mark.parametrize(
    ("text", "boost"),
    [
        ("where is GuardedStore.query", 0.3),
        ("what does `query` do", 0.3),
        ("what is in guard.py", 0.2),
        ("what is in application/guard.py", 0.2),
        ("what does GuardedStore do", 0.1),
        ("what does app.GuardedStore do", 0.1),
        ("what does app.GuardedStore do in guard.py", 0.2),
        ("what does `query` of GuardedStore do in guard.py", 0.3),
    ],
)
def test_symbol_file_and_class_lift_their_row_the_most_telling_one_counts(
    text: str, boost: float
) -> None:
    named = row(
        1,
        "src/application/guard.py",
        name="src/application/guard.py - GuardedStore.query",
        className="app.GuardedStore",
    )
    found = ranked(Question.of(text), [Candidate(each, 0, 0) for each in (row(0), named)])
    assert [(int(hit.row.id), hit.name) for hit in found] == [(1, boost), (0, 0.0)]


def ends(name: str, separator: str) -> list[str]:
    parts = name.split(separator)
    return [separator.join(parts[start:]) for start in range(len(parts))]


WORDS = st.sampled_from(
    ["Base", "a", "guard", "Store.open()", "x.y", ".git", "src", "guard.py", ""]
)


@given(
    st.lists(WORDS | st.sampled_from(["`", "(", ".", "/", " "]), max_size=6)
    .map("".join)
    .filter(str.strip),
    st.lists(WORDS.filter(bool), min_size=1, max_size=3),
    st.lists(WORDS, min_size=1, max_size=3).map(".".join),
)
def test_a_name_counts_if_and_only_if_the_question_mentions_one_of_its_ends(
    text: str, folders: list[str], name: str
) -> None:
    question, path = Question.of(text), "/".join(folders)
    stem = folders[-1].rpartition(".")[0]
    names = [*ends(name, "."), *ends(path, "/"), stem]
    [hit] = ranked(question, [Candidate(row(1, path, name=name), 0, 0)])
    assert bool(hit.name) == any(question.mentions(each) for each in names if each)


def test_a_name_counts_by_the_share_of_its_terms_that_the_question_has() -> None:
    names = ["keep rows", "keep all rows", "else"]
    found = ranked(
        Question.of("how to keep a row"),
        [Candidate(row(n, name=name), 0, 0) for n, name in enumerate(names)],
    )
    assert [hit.cover for hit in found] == [0.2, pytest.approx(0.2 * 2 / 3), 0.0]


def test_what_is_shown_is_clamped_and_what_orders_is_not() -> None:
    best, second = (row(n, name="keepRows") for n in (1, 0))
    found = ranked(Question.of("keepRows"), [Candidate(best, 0.9, 9), Candidate(second, 0.8, 9)])
    assert [(int(hit.row.id), hit.score) for hit in found] == [(1, 0.85), (0, 0.5)]
    third = Candidate(row(2), 0.1, 0)
    found = ranked(
        Question.of("keepRows"), [Candidate(best, 0.9, 9), Candidate(second, 0.8, 9), third]
    )
    assert [(int(hit.row.id), hit.score) for hit in found] == [(1, 1.0), (0, 1.0), (2, 0.0)]


# Natures


@pytest.mark.parametrize(
    ("path", "kind", "nature"),
    [
        ("src/a.py", "code", Nature.SOURCE),
        ("src/history.py", "code", Nature.SOURCE),
        ("src/latest.py", "code", Nature.SOURCE),
        ("src/Contest.java", "code", Nature.SOURCE),
        ("tests/a.py", "code", Nature.TESTS),
        ("src/test/java/A.java", "code", Nature.TESTS),
        ("src/test_a.py", "code", Nature.TESTS),
        ("pkg/a_test.go", "code", Nature.TESTS),
        ("src/a.test.ts", "code", Nature.TESTS),
        ("src/a.spec.mjs", "code", Nature.TESTS),
        ("src/StoreTest.java", "code", Nature.TESTS),
        ("src/StoreTests.cs", "code", Nature.TESTS),
        ("spec/store.rb", "code", Nature.TESTS),
        ("conftest.py", "code", Nature.TESTS),
        ("a.mjs", "test", Nature.TESTS),
        ("tests/README.md", "doc", Nature.TESTS),
        ("spec/retrieval.md", "doc", Nature.DOCS),
        ("docs/test.md", "doc", Nature.DOCS),
        ("README.rst", "raw", Nature.DOCS),
        ("learn/a", "guide", Nature.DOCS),
        ("CHANGELOG.md", "doc", Nature.ARCHIVE),
        ("CHANGES", "text", Nature.ARCHIVE),
        ("docs/release-notes.md", "doc", Nature.ARCHIVE),
        ("t/1.md", "ticket", Nature.ARCHIVE),
        ("t/1.md", "pull", Nature.ARCHIVE),
        ("t/1.md", "discussion", Nature.ARCHIVE),
        ("t/1.md", "release", Nature.ARCHIVE),
        ("t/1.md", "blog", Nature.ARCHIVE),
    ],
)
def test_type_and_path_tell_what_kind_of_text_a_row_is(
    path: str, kind: str, nature: Nature
) -> None:
    assert nature_of(row(1, path, type=kind)) is nature


def test_the_parts_of_that_rule_judge_paths_alone() -> None:
    assert is_test_path("tests/a.py")
    assert not is_test_path("attests/a.py")
    assert is_documentation("A.MD")
    assert not is_documentation("md")
    assert is_change_log("docs/Changelog.md")
    assert not is_change_log("docs/changelog-format.md")


def test_only_what_is_not_preferred_is_demoted_and_only_if_asked() -> None:
    rows = [row(1), row(2, "tests/test_a.py"), row(3, "docs/a.md"), row(4, type="ticket")]
    plain = [Candidate(each, 0, 0) for each in rows]
    assert {hit.demotion for hit in ranked(QUESTION, plain)} == {0.0}
    for nature, preferred in ((Nature.SOURCE, 1), (Nature.TESTS, 2), (Nature.DOCS, 3)):
        found = ranked(QUESTION, plain, prefer=nature)
        assert [int(hit.row.id) for hit in found if hit.demotion == 0] == [preferred]
        assert [hit.demotion for hit in found].count(0.1) == 3


# Inheritance


def lift_of(found: list[Hit]) -> dict[int, float]:
    return {int(hit.row.id): hit.lift for hit in found}


def test_a_class_lifts_its_parents_less_with_each_step() -> None:
    found = ranked(
        QUESTION,
        [
            Candidate(row(1, className="C", extends="B"), 1, 1),
            Candidate(row(2, className="B", extends="A"), 0, 0),
            Candidate(row(3, className="A"), 0, 0),
            Candidate(row(4, className="D"), 0, 0),
            Candidate(row(5), 0, 0),
        ],
    )
    assert lift_of(found) == {1: 0, 2: pytest.approx(0.1), 3: pytest.approx(0.06), 4: 0, 5: 0}


def test_many_descendants_lift_no_more_than_the_best_of_them() -> None:
    children = [Candidate(row(n, className=f"C{n}", extends="A"), n / 9, n) for n in range(1, 10)]
    found = ranked(QUESTION, [*children, Candidate(row(99, className="A"), 0, 0)])
    assert lift_of(found)[99] == pytest.approx(0.1)


def test_a_namesake_in_another_repository_or_tenant_is_no_parent() -> None:
    found = ranked(
        QUESTION,
        [
            Candidate(row(1, className="C", extends="A"), 1, 1),
            Candidate(row(2, className="A", repo="lib"), 0, 0),
            Candidate(row(3, className="A", tenant="neo-shared"), 0, 0),
        ],
    )
    assert lift_of(found) == {1: 0, 2: 0, 3: 0}


def test_classes_that_extend_each_other_come_to_an_end() -> None:
    found = ranked(
        QUESTION,
        [
            Candidate(row(1, className="A", extends="B"), 1, 1),
            Candidate(row(2, className="B", extends="A"), 0, 0),
            Candidate(row(3, className="S", extends="S"), 0, 0),
        ],
    )
    assert lift_of(found) == {1: 0, 2: pytest.approx(0.1), 3: 0}


@given(candidates(), candidates())
def test_rows_of_another_repository_lift_nothing(
    mine: list[Candidate], others: list[Candidate]
) -> None:
    apart = [
        Candidate(
            row(
                100 + n,
                repo="other",
                className=each.row.text("className"),
                extends=each.row.text("extends"),
            ),
            each.cosine,
            each.bm25,
        )
        for n, each in enumerate(others)
    ]
    scale = [Candidate(row(500), -1, 0), Candidate(row(501), 1, 30)]  # fixes what is normalised to
    alone = lift_of(ranked(QUESTION, [*mine, *scale]))
    together = lift_of(ranked(QUESTION, [*mine, *scale, *apart]))
    assert alone == {number: together[number] for number in alone}


# Pages


def test_no_file_has_more_than_four_answers_of_a_page() -> None:
    found = hits(*(row(n, "src/a.py") for n in range(6)), *(row(n, f"src/{n}.py") for n in (6, 7)))
    assert numbers(page(found, 1, 6)) == [0, 1, 2, 3, 6, 7]
    assert numbers(page(found, 2, 6)) == [4, 5]
    assert numbers(page(found, 1, 5, per_file=1)) == [0, 1, 2, 6, 7]
    assert numbers(page(found, 1, 3, per_file=1)) == [0, 6, 7]
    assert numbers(page(found, 1, 5, per_file=None)) == [0, 1, 2, 3, 4]


def test_one_path_in_two_repositories_is_two_files() -> None:
    found = hits(row(1), row(2), row(3, repo="lib"))
    assert numbers(page(found, 1, 2, per_file=1)) == [1, 3]


def test_a_quarter_of_a_page_is_from_archives_and_one_in_any_case() -> None:
    tickets = [row(n, f"t/{n}.md", type="ticket") for n in range(5)]
    others = [row(n, f"src/{n}.py") for n in range(5, 15)]
    found = hits(*tickets, *others)
    assert numbers(page(found, 1, 8)) == [0, 1, 5, 6, 7, 8, 9, 10]
    assert numbers(page(found, 1, 2)) == [0, 5]
    assert numbers(page(found, 1, 1)) == [0]
    assert numbers(page(hits(*tickets), 1, 4)) == [0, 1, 2, 3]


@given(candidates(), st.integers(1, 6), st.none() | st.integers(1, 3))
def test_every_hit_is_on_one_page_and_each_page_is_in_order(
    found: list[Candidate], limit: int, per_file: int | None
) -> None:
    answers = ranked(QUESTION, found)
    pages = [page(answers, number, limit, per_file=per_file) for number in range(1, 14)]
    assert sorted(hit.order for each in pages for hit in each) == [hit.order for hit in answers]
    for each in pages:
        assert [hit.order for hit in each] == sorted(hit.order for hit in each)
    full = len(answers) // limit
    assert [len(each) for each in pages[:full]] == [limit] * full


@given(candidates(), st.integers(1, 6), st.integers(1, 3))
def test_a_page_is_crowded_only_where_nothing_else_is_left(
    found: list[Candidate], limit: int, per_file: int
) -> None:
    answers = ranked(QUESTION, found)
    first = page(answers, 1, limit, per_file=per_file)
    left = [hit for hit in answers if hit not in first]

    def is_archive(hit: Hit) -> bool:
        return nature_of(hit.row) is Nature.ARCHIVE

    def of_file(hit: Hit) -> int:
        return sum(each.row.path == hit.row.path for each in first)

    archived = sum(map(is_archive, first))
    crowded = any(of_file(hit) > per_file for hit in first)
    crowded = crowded or archived > max(1, limit // ARCHIVE_PART)
    assert not crowded or all(is_archive(hit) or of_file(hit) >= per_file for hit in left)


@given(candidates(), st.integers(1, 6))
def test_neither_limit_nor_page_changes_a_score(found: list[Candidate], limit: int) -> None:
    answers = {hit.row.key: hit for hit in ranked(QUESTION, found)}
    shown = [hit for number in (1, 2) for hit in page(answers.values(), number, limit)]
    assert all(answers[hit.row.key] == hit for hit in shown)


@given(candidates())
def test_a_filter_narrows_the_answers_and_adds_none(found: list[Candidate]) -> None:
    narrowed = [each for each in found if each.row.path.source_path == "src/a.py"]
    everything = {hit.row.key for hit in ranked(QUESTION, found)}
    answers = {hit.row.key for hit in ranked(QUESTION, narrowed)}
    assert answers == {each.row.key for each in narrowed}
    assert answers <= everything == {each.row.key for each in found}
