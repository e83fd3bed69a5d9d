"""Whatever is done, an engine answers as the one in memory does."""
# ruff: noqa: S101 # a suite asserts

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantkb.adapters.stores.memory import MemoryEngine
from tenantkb.application.guard import GuardedStore
from tenantkb.domain.context import ReadScope, WriteScope
from tenantkb.domain.errors import TenantKbError
from tenantkb.domain.rows import ANY, Criteria, StampedRow
from tenantkb.domain.stamps import Visibility
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.engine import Engine, Lexical, RawRow
from tenantkb.testing.fixtures import MakeEngine, StoreSuite
from tenantkb.testing.guarded import OPERATOR, guarded
from tenantkb.testing.primitives import expected, exported, lexical_facts
from tenantkb.testing.samples import PROFILE, keyed, reading, row, unit, writing
from tenantkb.testing.wrappers import WrappedEngine

_ACTORS = (("acme", "ada"), ("acme", "bob"), ("beta", "ada"), ("neo-shared", "cy"))
_REPOS = ("app", "lib", "neo")
_DIRECTIONS = [
    unit(*numbers) for numbers in [(1, 0, 0, 0), (1, 1, 0, 0), (1, 2, 3, 4), (-1, 0, 1, 0)]
]


def _either(*values: str) -> st.SearchStrategy[str | None]:
    return st.none() | st.sampled_from(values)


_scopes = st.builds(
    lambda actor, repo, visibility: writing(actor[0], actor[1], repo, visibility),
    st.sampled_from(_ACTORS),
    st.sampled_from(_REPOS),
    st.sampled_from(Visibility),
)
_chunks = st.fixed_dictionaries(
    {
        "name": st.sampled_from("abcd"),
        "type": st.sampled_from(["guide", "src"]),
        "className": _either("X", "Y"),
        "flag": st.none()
        | st.booleans()
        | st.integers(-3, 3)
        | st.sampled_from([0.0, 0.5, 1.0])
        | st.text(max_size=3),
    }
)
_drawn_rows = st.lists(st.tuples(_chunks, st.sampled_from(_DIRECTIONS)), max_size=4)
_operations = st.lists(
    st.tuples(
        st.sampled_from(["upsert", "upsert", "move", "delete", "restore"]), _scopes, _drawn_rows
    ),
    max_size=8,
)
_criteria = st.builds(
    Criteria,
    type=_either("guide", "src", "nothing"),
    kind=_either("method"),
    repo_slug=_either(*_REPOS, "beta"),
    source_path=_either("a.md", "b.md"),
    class_name=_either("X", "Y", ""),
)
_floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
_law = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def _outcome(
    store: GuardedStore, name: str, scope: WriteScope, drawn: Sequence[tuple[StampedRow, Any]]
) -> object:
    """What an operation answers, or how it is refused."""
    written = [each for each, _ in drawn]
    directions = np.array([direction for _, direction in drawn], np.float32)
    directions = directions.reshape(-1, PROFILE.dimension)
    try:
        if name == "upsert":
            store.upsert(scope, written, directions)
        elif name == "restore":
            store.restore(OPERATOR, written, 3 * directions)
        elif name == "move":
            stored = [found.key for found in store.scan(scope)]
            targets = [each for each in written if each.key not in stored]
            store.move(scope, list(zip(stored, targets, strict=False)))
        else:
            return store.delete(scope, [each.key for each in written])
    except TenantKbError as error:
        return error.code, str(error)
    return None


def _everything(store: GuardedStore, criteria: Sequence[Criteria]) -> list[object]:
    """All that all callers can find out, scores to five decimals."""
    seen: list[object] = []
    for actor in _ACTORS:
        scope = reading(*actor)
        for each in criteria:
            scanned = list(store.scan(scope, each))
            seen.append(scanned)
            for limit in (1, 3, 1000):
                matches = store.query(scope, unit(2, 1, 0, 1), limit, each)
                seen.append([(match.row, round(match.score, 5) + 0.0) for match in matches])
            seen.append(_compared(store, scope, each))
            seen.append(store.get(scope, [found.id for found in scanned][::-1]))
        seen.append(dict(store.count(scope)))
        seen += [list(store.scan(writing(*actor, repo))) for repo in _REPOS]
    return seen


def _compared(store: GuardedStore, scope: ReadScope, criteria: Criteria) -> object:
    """What the lexical arm of a search is told."""
    keys = [found.key for found in store.scan(scope)]
    matches = store.compare(scope, unit(2, 1, 0, 1), keys, criteria)
    scores = [(match.row, round(match.score, 5) + 0.0) for match in matches]
    postings = store.postings(scope, ["a", "b", "text", "never"], criteria)
    return scores, None if postings is None else lexical_facts(postings)


def reference(engine: Engine) -> Engine:
    """The store in memory, without postings if the other one has none."""
    memory = MemoryEngine()
    return memory if isinstance(engine, Lexical) else WrappedEngine(memory)


def _comes_back(make_engine: MakeEngine, written: list[RawRow], given_vectors: Vectors) -> None:
    with closing(make_engine()) as engine:
        engine.truncate()
        engine.bind(PROFILE)
        engine.put(written, given_vectors, exact=True)
        assert exported(engine) == expected(written, given_vectors)


class Congruence(StoreSuite):
    """Random operations and questions."""

    def test_the_engine_answers_as_the_one_in_memory(self, make_engine: MakeEngine) -> None:
        """Fails: the printed operations give two answers; ports/engine.py says which is right."""

        @_law
        @given(_operations, st.lists(_criteria, max_size=2))
        def law(drawn: list[tuple[str, WriteScope, list[Any]]], asked: list[Criteria]) -> None:
            with closing(make_engine()) as engine:
                engine.truncate()
                stores = [guarded(reference(engine)), guarded(engine)]
                for store in stores:
                    store.bind(PROFILE)
                for name, scope, chunks in drawn:
                    written = [(row(scope, **chunk), direction) for chunk, direction in chunks]
                    one, other = (_outcome(store, name, scope, written) for store in stores)
                    assert one == other
                one, other = (_everything(store, [ANY, *asked]) for store in stores)
                assert one == other

        law()

    def test_exact_vectors_come_back_whatever_their_bits(self, make_engine: MakeEngine) -> None:
        """Fails: a vector is changed on its way into the store or out of it."""

        @_law
        @given(st.lists(st.lists(_floats, min_size=4, max_size=4), min_size=1, max_size=8))
        def law(numbers: list[list[float]]) -> None:
            given_vectors = np.array(numbers, np.float32)
            written = [keyed(writing("acme"), f"{n}") for n in range(len(numbers))]
            _comes_back(make_engine, written, given_vectors)

        law()

    def test_values_come_back_whatever_they_are(self, make_engine: MakeEngine) -> None:
        """Fails: a value, its type or a name is changed on its way into the store or out of it."""
        texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
        eighths = st.integers(-(10**6), 10**6).map(lambda number: number / 8)
        values = texts | st.booleans() | st.integers(-(2**63), 2**63 - 1) | eighths
        named = st.dictionaries(texts.filter(bool), values, max_size=5)

        @_law
        @given(st.lists(named, min_size=1, max_size=4))
        def law(drawn: list[dict[str, Any]]) -> None:
            plain = keyed(writing("acme"), "x").metadata
            written = [
                keyed(writing("acme"), f"{n}", **{k: v for k, v in each.items() if k not in plain})
                for n, each in enumerate(drawn)
            ]
            _comes_back(
                make_engine, written, np.stack([unit(1, n, 0, 0) for n in range(len(drawn))])
            )

        law()
