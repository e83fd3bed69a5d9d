"""The rules of :mod:`ports.engine`: what an engine owes the guard."""
# ruff: noqa: S101 # a suite asserts

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from threading import Event
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from tenantkb.domain import fields
from tenantkb.domain.bm25 import Statistics
from tenantkb.domain.checks import Check
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import StoreMismatchError
from tenantkb.domain.ids import ChunkId, IdScheme, RowKey
from tenantkb.domain.lexical import field_lengths, frequencies_in, terms_of
from tenantkb.domain.selection import Selection
from tenantkb.domain.stamps import Visibility
from tenantkb.ports.embedding import Vectors
from tenantkb.ports.engine import (
    CountsRows,
    Engine,
    Examinable,
    Lexical,
    ListsKeys,
    Postings,
    RawRow,
    Reindexable,
    Transactional,
    Vector,
)
from tenantkb.testing.fixtures import Behind, MakeEngine, StoreSuite
from tenantkb.testing.samples import PROFILE, fill, keyed, raw, row, rows, unit, vectors, writing

ACME, BETA = writing("acme"), writing("beta")
OF_ADA = writing("acme", visibility=Visibility.PRIVATE)
OF_BOB = writing("acme", "bob", visibility=Visibility.PRIVATE)
SCOPES = (ACME, OF_ADA, OF_BOB, BETA, writing("neo-shared", repo="neo"))

ODD_IDS = (
    " ",
    "A",
    "a",
    "a ",
    "a\0b",
    "\x1f",
    "\n",
    "%",
    "'; DROP TABLE rows; --",
    "{}",
    "private:acme:ada",
    "u\u0308",
    "\u00fc",
    "\uffff",
    "\U0001f600",
    "x" * 512,
)
"""Ids that only the same characters are equal to; the last but one comes after ``\\uffff`` by its
code point, and before it in UTF-16."""

ODD_FIELDS: dict[str, Any] = {
    "empty": "",
    "nul": "a\0b",
    "emoji": "\U0001f600 \u00fc",
    "long": "x" * 100_000,
    "digits": "1",
    "yes": True,
    "no": False,
    "one": 1,
    "zero": 0,
    "one_float": 1.0,
    "half": 0.5,
    "tiny": 1e-300,
    "huge": 1.5e300,
    "most": 2**63 - 1,
    "least": -(2**63),
    "big": 2**53 + 1,
    "$and": "a",
    "$x": 1,
    "#x": True,
    "chroma:document": "b",
    "tenantkb.vector": "AAAA",
    "tenantkb.field:x": "c",
    "a.b": 1.5,
    "id": "d",
    "label": "e",
    "vector": "f",
    "metadata": "g",
    "document": "h",
    "\U0001f600": "i",
    "with 'quotes' and \"quotes\"": "j",
}
"""Names and values of every kind that a row may have."""

ODD_VECTORS = np.array(
    [
        [3.0, 4.0, 0.0, 0.0],
        [-0.0, 1e-38, 1.4e-45, -1e38],
        [0.1, 0.2, 0.3, 0.4],
        [0.0, 0.0, 0.0, 0.0],
    ],
    np.float32,
)
"""Vectors whose length is not 1, which an index that compares by cosine does not keep."""

PAGED = 1203
"""More rows than an engine reads or writes at once."""


def selected(*labels: str, **equalities: str) -> Selection:
    """A selection by labels and fields."""
    return Selection(labels, equalities)


def by_key(answer: Iterable[RawRow]) -> dict[RowKey, RawRow]:
    """Rows by address, each of them answered once."""
    found = list(answer)
    keyed_rows = {each.key: each for each in found}
    assert len(keyed_rows) == len(found), "a row was answered twice"
    return keyed_rows


def exported(engine: Engine) -> list[tuple[RowKey, dict[str, Any], bytes]]:
    """All that there is, values with their types."""
    return [
        (found.key, typed(found), np.asarray(vector, np.float32).tobytes())
        for found, vector in engine.export()
    ]


def expected(
    written: Sequence[RawRow], given: Vectors
) -> list[tuple[RowKey, dict[str, Any], bytes]]:
    """What an export gives of exact rows."""
    pairs = zip(written, given, strict=True)
    found = [(each.key, typed(each), vector.tobytes()) for each, vector in pairs]
    return sorted(found, key=lambda entry: (entry[0].id, entry[0].label))


def typed(found: RawRow) -> dict[str, Any]:
    """The metadata with the type of each value: 1, 1.0 and true are three values."""
    return {key: (type(value).__name__, value) for key, value in found.metadata.items()}


def in_order(keys: Iterable[RowKey]) -> list[RowKey]:
    """Addresses as every list of rows has them: by id, then label."""
    return sorted(keys, key=lambda key: (key.id, key.label))


def lexical_facts(found: Postings) -> tuple[Statistics, dict[RowKey, Any]]:
    """Postings as values that can be compared: a term that occurs nowhere may be left out."""
    numbers = zip(found.frequencies.tolist(), found.lengths.tolist(), strict=True)
    facts = dict(zip(found.keys, numbers, strict=True))
    assert found.keys.positions(list(facts)) == {key: n for n, key in enumerate(found.keys)}
    occurring = +Counter(found.statistics.document_frequencies)
    return evolve(found.statistics, document_frequencies=occurring), facts


def lexical_rule(
    rows_of: Sequence[RawRow], selection: Selection, terms: Sequence[str]
) -> tuple[Statistics, dict[RowKey, Any]]:
    """The postings of some rows, as :class:`ports.engine.Lexical` demands."""
    within = [(found, terms_of(found.metadata)) for found in rows_of]
    within = [(found, has) for found, has in within if found.label in selection.labels]
    lengths = [field_lengths(has) for _, has in within]
    name, path, content = (sum(each[column] for each in lengths) for column in range(3))
    statistics = Statistics(
        len(within),
        (name, path, content),
        +Counter(term for _, has in within for term in terms if term in has),
    )
    return statistics, {
        found.key: (frequencies_in([has], terms)[0].tolist(), list(field_lengths(has)))
        for found, has in within
        if not has.keys().isdisjoint(terms) and selection.matches(found.label, found.metadata)
    }


class Binding(StoreSuite):
    """The embedder that a collection is for."""

    def test_a_store_without_any_data_answers_as_an_empty_one(self, engine: Engine) -> None:
        """Fails: a call assumes that the collection exists."""
        missing = keyed(ACME, "x")
        assert engine.profile() is None
        assert list(engine.nearest(selected(ACME.label), unit(1, 0, 0, 0), 3)) == []
        assert list(engine.get([ACME.label], [missing.id])) == []
        assert list(engine.scan(selected(ACME.label))) == []
        assert list(engine.export()) == []
        assert list(engine.fetch([missing.key])) == []
        assert engine.delete([missing.key]) == 0
        engine.move([(missing.key, missing)])
        assert engine.truncate() == 0
        assert engine.profile() is None

    def test_the_place_is_told_for_messages(self, engine: Engine) -> None:
        """Fails: ``place`` is no text; errors and the doctor name the store by it."""
        assert isinstance(engine.place, str)
        assert engine.place

    def test_the_first_bind_is_remembered_by_the_data(self, make_engine: MakeEngine) -> None:
        """Fails: the profile lives in the object, not with the rows, or a later one wins."""
        with closing(make_engine()) as first:
            assert first.bind(PROFILE) == PROFILE
        with closing(make_engine()) as second:
            assert second.profile() == PROFILE
            for other in (EmbedderProfile("another", 4), EmbedderProfile("test-embedder", 5)):
                assert second.bind(other) == PROFILE
            assert second.profile() == PROFILE

    @pytest.mark.parametrize("scheme", list(IdScheme))
    def test_the_scheme_of_ids_is_remembered_by_the_data(
        self, make_engine: MakeEngine, scheme: IdScheme
    ) -> None:
        """Fails: how ids are derived is forgotten, or a later bind changes it."""
        with closing(make_engine()) as first:
            assert first.ids() is None
            first.bind(PROFILE, scheme)
            assert first.ids() is scheme
        with closing(make_engine()) as second:
            assert second.ids() is scheme
            for other in IdScheme:
                second.bind(PROFILE, other)
            assert second.ids() is scheme
            second.truncate()
            assert second.ids() is None
            second.bind(PROFILE)
            assert second.ids() is IdScheme.CONTENT

    def test_nothing_is_written_before_a_bind(self, engine: Engine) -> None:
        """Fails: a put made a collection whose embedder nobody knows."""
        with pytest.raises(StoreMismatchError):
            engine.put([keyed(ACME, "x")], vectors(1), exact=False)
        assert engine.profile() is None
        assert list(engine.export()) == []


class Selecting(StoreSuite):
    """Whose rows are answered."""

    def test_rows_of_the_labels_are_answered_and_no_others(self, engine: Engine) -> None:
        """Fails: a leak. The filter is a list of allowed labels, and nothing else decides."""
        written = [keyed(scope, f"row {n}") for n, scope in enumerate(SCOPES)]
        fill(engine, written)
        for labels in ([ACME.label], [OF_BOB.label, BETA.label], ["team:a", "team"], []):
            visible = {each.key for each in written if each.label in labels}
            ids = [each.id for each in written]
            assert by_key(engine.get(labels, ids)).keys() == visible
            assert by_key(engine.scan(selected(*labels))).keys() == visible
            for limit in (1, 2, 100):
                found = engine.nearest(selected(*labels), unit(1, 0, 0, 0), limit)
                assert len(by_key(each for each, _ in found)) == min(limit, len(visible))
                assert {each.key for each, _ in found} <= visible

    def test_every_equality_must_hold_as_text(self, engine: Engine) -> None:
        """Fails: a condition is left out, or compares something else than the same text."""
        written = [
            keyed(ACME, "a", kind="method", className="X"),
            keyed(ACME, "b", kind="method", className="x"),
            keyed(ACME, "c", kind="5"),
            keyed(ACME, "d", kind=5),
            keyed(ACME, "e", kind=True, className="true"),
            keyed(ACME, "f", kind=""),
            keyed(ACME, "g", kind="a\0b"),
            keyed(BETA, "h", kind="method"),
        ]
        fill(engine, written)
        for equalities in (
            {"kind": "method"},
            {"kind": "method", "className": "X"},
            {"kind": "5"},
            {"kind": ""},
            {"kind": "a"},
            {"kind": "a\0b"},
            {"kind": "true"},
            {"kind": "True"},
            {"kind": "%"},
            {"kind": "METHOD"},
            {"className": "X", "kind": "guide"},
            {"nobody has it": "x"},
            {fields.REPO_SLUG: "app"},
        ):
            selection = Selection((ACME.label,), equalities)
            wanted = {each.key for each in written if selection.matches(each.label, each.metadata)}
            assert by_key(engine.scan(selection)).keys() == wanted, equalities
            found = engine.nearest(selection, unit(1, 0, 0, 0), 100)
            assert by_key(each for each, _ in found).keys() == wanted, equalities

    def test_a_row_is_addressed_by_label_and_id(self, engine: Engine) -> None:
        """Fails: rows of two audiences meet under one id; the label is part of the key."""
        written = [keyed(scope, "same", name=scope.label) for scope in SCOPES]
        given = vectors(len(written))
        engine.bind(PROFILE)
        for each, vector in zip(written, given, strict=True):
            engine.put([each], vector[np.newaxis], exact=True)
        assert exported(engine) == expected(written, given)
        for each in written:
            assert list(engine.get([each.label], [each.id])) == [each]
        assert by_key(engine.get([ACME.label, BETA.label], [ChunkId("same")])).keys() == {
            RowKey(ACME.label, ChunkId("same")),
            RowKey(BETA.label, ChunkId("same")),
        }
        assert engine.delete([written[0].key]) == 1
        assert exported(engine) == expected(written[1:], given[1:])

    def test_an_id_is_equal_to_the_same_characters_alone(self, engine: Engine) -> None:
        """Fails: a collation, a normalisation or an escape makes one row of two ids."""
        written = [keyed(ACME, text, name=f"name {n}") for n, text in enumerate(ODD_IDS)]
        fill(engine, written)
        assert [found.key for found in engine.scan(selected(ACME.label))] == in_order(
            each.key for each in written
        )
        for each in written:
            assert list(engine.get([ACME.label], [each.id])) == [each]
            assert [found for found, _ in engine.fetch([each.key])] == [each]
        for each in written:
            assert engine.delete([each.key]) == 1
        assert list(engine.export()) == []

    def test_a_label_is_equal_to_the_same_characters_alone(self, engine: Engine) -> None:
        """Fails: one agent gets the private rows of another with a similar name."""
        names = ("ada", "Ada", "a", "ada:bob", "bob", "%", "_da", "\u0430da", "ad\u00e4", "ada'")
        scopes = [writing("acme", name, visibility=Visibility.PRIVATE) for name in names]
        written = [keyed(scope, "x", name=scope.label) for scope in scopes]
        fill(engine, written)
        for scope, each in zip(scopes, written, strict=True):
            assert list(engine.scan(selected(scope.label))) == [each]
            assert list(engine.get([scope.label], [each.id])) == [each]
            [(found, _)] = engine.nearest(selected(scope.label), unit(1, 0, 0, 0), 9)
            assert found == each


class Reading(StoreSuite):
    """Order, completeness and pages."""

    def test_the_nearest_come_first_with_their_cosine(self, engine: Engine) -> None:
        """Fails: the distance is not cosine, or a score is a distance."""
        written = [keyed(ACME, name) for name in "abc"]
        given = np.stack([unit(1, 0, 0, 0), unit(1, 1, 0, 0), unit(-1, 0, 0, 0)])
        fill(engine, written, given)
        found = engine.nearest(selected(ACME.label), unit(1, 0, 0, 0), 3)
        assert [each for each, _ in found] == written
        assert [score for _, score in found] == pytest.approx([1, 0.5**0.5, -1], abs=1e-5)

    def test_vectors_of_any_length_are_ranked_by_their_cosine(self, engine: Engine) -> None:
        """Fails: a long vector wins by its length, or squares overflow single precision."""
        written = [keyed(ACME, name) for name in "abcd"]
        given = np.array([[9, 9, 0, 0], [0.1, 0, 0, 0], [0, 0, 0, 0], [3e38, 0, 0, 3e38]])
        engine.bind(PROFILE)
        engine.put(written, given.astype(np.float32), exact=True)
        for limit in (4, 3, 1):
            found = engine.nearest(selected(ACME.label), unit(1, 0, 0, 0), limit)
            assert [each.id for each, _ in found] == list("badc")[:limit]
            scores = [1, 0.5**0.5, 0.5**0.5, 0][:limit]
            assert [score for _, score in found] == pytest.approx(scores, abs=1e-5)

    def test_equal_scores_are_ordered_by_id_and_label(self, engine: Engine) -> None:
        """Fails: ties come back in the order of storage, which changes between runs."""
        written = [keyed(scope, f"{n:02}") for n in range(30) for scope in (BETA, ACME)]
        engine.bind(PROFILE)
        for each in written[::-1]:
            engine.put([each], unit(1, 2, 3, 4)[np.newaxis], exact=False)
        found = engine.nearest(selected(BETA.label, ACME.label), unit(1, 1, 1, 1), 60)
        assert [each.key for each, _ in found] == in_order(each.key for each in written)
        assert len({round(score, 6) for _, score in found}) == 1

    def test_fewer_than_limit_only_where_fewer_are_selected(self, engine: Engine) -> None:
        """Fails: a tight group far from the question is lost in an index over all rows."""
        crowd = [keyed(ACME, f"{n:05}") for n in range(1200)]
        tight = [keyed(BETA, f"{n:05}") for n in range(40)]
        fill(engine, crowd)
        engine.put(tight, np.repeat(unit(1, 1, 1, 1)[np.newaxis], 40, axis=0), exact=False)
        for limit in (10, 40, 5000):
            found = engine.nearest(selected(BETA.label), unit(-1, -1, -1, -1), limit)
            assert len(by_key(each for each, _ in found)) == min(limit, 40)
        found = engine.nearest(selected(ACME.label), unit(1, 0, 0, 0), 1100)
        assert len(by_key(each for each, _ in found)) == 1100

    def test_the_nearest_are_the_nearest(self, engine: Engine) -> None:
        """Fails: an exact search is none, or an approximate one misses too many (recall < 0.98)."""
        size = 1200
        written = [keyed(ACME, f"{n:05}") for n in range(size)]
        given = vectors(size)
        fill(engine, written, given)
        found, wanted = 0, 0
        for question in vectors(50, seed=1):
            cosines = given.astype(np.float64) @ question.astype(np.float64)
            worst = np.sort(cosines)[-10] - 1e-5
            answer = engine.nearest(selected(ACME.label), question, 10)
            scores = [score for _, score in answer]
            assert scores == sorted(scores, reverse=True)
            for each, score in answer:
                assert score == pytest.approx(cosines[int(each.id)], abs=1e-5)
            found += sum(score >= worst for score in scores)
            wanted += 10
        assert found >= (wanted if self.is_exact(size) else 0.98 * wanted)

    def test_get_finds_every_row_asked_for_and_no_other(self, engine: Engine) -> None:
        """Fails: a long list of ids is cut off, or a missing one ends the search."""
        written = [keyed(ACME, f"{n:05}") for n in range(PAGED)]
        fill(engine, written)
        ids = [each.id for each in written]
        assert by_key(engine.get([ACME.label], ids)) == by_key(written)
        some = [ids[3], ChunkId("missing"), ids[0]]
        assert by_key(engine.get([BETA.label, ACME.label], some)).keys() == {
            written[3].key,
            written[0].key,
        }
        assert list(engine.get([ACME.label], [])) == []

    def test_a_scan_is_by_ascending_id_and_label_and_resumes(self, engine: Engine) -> None:
        """Fails: paging by offset or by insertion."""
        written = [
            keyed(scope, f"{n * 7919 % PAGED:05}") for n in range(PAGED) for scope in (ACME, BETA)
        ]
        fill(engine, written)
        both = selected(BETA.label, ACME.label)
        keys = in_order(each.key for each in written)
        assert [found.key for found in engine.scan(both)] == keys
        for number in (0, 1100, 1101, len(keys) - 1):
            resumed = engine.scan(both, keys[number])
            assert [found.key for found in resumed] == keys[number + 1 :]
        between = RowKey("a label that nobody has", ChunkId("00600 and a bit"))
        resumed = engine.scan(selected(ACME.label), between)
        assert [found.key for found in resumed] == [
            key for key in keys if key.label == ACME.label and key.id > between.id
        ]

    def test_a_scan_goes_on_while_rows_are_written_and_deleted(self, engine: Engine) -> None:
        """Fails: a lock or a cursor is held between two rows, or a deletion shifts the pages."""
        written = [keyed(ACME, f"{n:05}") for n in range(PAGED)]
        fill(engine, written)
        scanned: Iterator[RawRow] = engine.scan(selected(ACME.label))
        first = next(scanned)
        gone = written[1:1000:2]
        assert engine.delete([each.key for each in gone]) == len(gone)
        engine.put([keyed(ACME, "00000 and a bit")], vectors(1), exact=False)
        kept = {each.key for each in written} - {each.key for each in gone} - {first.key}
        assert by_key(scanned).keys() >= kept

    def test_callers_cannot_change_what_is_stored(self, engine: Engine) -> None:
        """Fails: the engine hands out, or keeps, a caller's own dictionary or array."""
        metadata = dict(keyed(ACME, "x").metadata)
        given = vectors(1)
        engine.bind(PROFILE)
        engine.put([RawRow(ACME.label, ChunkId("x"), metadata)], given, exact=True)
        before = exported(engine)
        metadata["content"] = "changed"
        given[:] = 0
        for found in (
            next(iter(engine.scan(selected(ACME.label)))),
            next(iter(engine.get([ACME.label], [ChunkId("x")]))),
            next(iter(engine.fetch([RowKey(ACME.label, ChunkId("x"))])))[0],
        ):
            if isinstance(found.metadata, dict):
                found.metadata["content"] = "changed"
        _, vector = next(iter(engine.export()))
        if vector.flags.writeable:
            vector[:] = 0
        assert exported(engine) == before


class Writing(StoreSuite):
    """What is stored, and for how long."""

    def test_a_put_leaves_nothing_of_the_earlier_row(self, engine: Engine) -> None:
        """Fails: metadata is merged; fields that vanished must be removed, and the vector too."""
        before = keyed(ACME, "a", extra="old", size=3, flag=True)
        after = keyed(ACME, "a", added="new")
        engine.bind(PROFILE)
        engine.put([before], ODD_VECTORS[:1], exact=True)
        engine.put([after], unit(0, 1, 0, 0)[np.newaxis], exact=False)
        assert exported(engine) == expected([after], unit(0, 1, 0, 0)[np.newaxis])
        [(_, score)] = engine.nearest(selected(ACME.label), unit(0, 1, 0, 0), 9)
        assert score == pytest.approx(1, abs=1e-5)

    def test_values_come_back_as_they_went_in(self, make_engine: MakeEngine) -> None:
        """Fails: the store changes, drops or merges a value or its type, or refuses a name."""
        written = keyed(ACME, "r", **ODD_FIELDS)
        with closing(make_engine()) as engine:
            fill(engine, [written])
        with closing(make_engine()) as engine:
            [found] = engine.get([ACME.label], [written.id])
            assert typed(found) == typed(written)
            [(found, _)] = engine.fetch([written.key])
            assert typed(found) == typed(written)

    def test_more_rows_than_one_request_takes_arrive_whole(self, engine: Engine) -> None:
        """Fails: a request exceeds what the engine takes at once, in rows or in bytes."""
        many = [keyed(ACME, f"{n:05}") for n in range(5500)]
        heavy = [keyed(BETA, f"{n}", content=f"{n}" * 500_000) for n in range(10)]
        fill(engine, [*many, *heavy])
        assert [found.id for found in engine.scan(selected(ACME.label))] == [
            each.id for each in many
        ]
        assert by_key(engine.scan(selected(BETA.label))) == by_key(heavy)
        assert engine.delete([each.key for each in many]) == 5500

    def test_writes_outlive_the_object(self, make_engine: MakeEngine) -> None:
        """Fails: something is only in memory; close must not be what saves."""
        written = [keyed(scope, f"{n}") for n, scope in enumerate(SCOPES)]
        moved = keyed(OF_ADA, "moved")
        first = make_engine()
        with closing(first):
            fill(first, written)
            first.move([(written[0].key, moved)])
            assert first.delete([written[1].key]) == 1
            before = exported(first)
            answer = list(first.nearest(selected(BETA.label), unit(1, 0, 0, 0), 3))
        with closing(make_engine()) as second:
            assert exported(second) == before
            assert list(second.nearest(selected(BETA.label), unit(1, 0, 0, 0), 3)) == answer

    def test_exact_vectors_come_back_bit_by_bit(self, make_engine: MakeEngine) -> None:
        """Fails: the index scales vectors to length 1; the exact ones have to be kept beside it."""
        written = [keyed(scope, f"{n}") for n, scope in enumerate(SCOPES[: len(ODD_VECTORS)])]
        many = [keyed(ACME, f"many {n:03}", document="its document") for n in range(300)]
        with closing(make_engine()) as first:
            first.bind(PROFILE)
            first.put(written, ODD_VECTORS, exact=True)
            first.put(many, vectors(300), exact=True)
        both = np.concatenate([ODD_VECTORS, vectors(300)])
        with closing(make_engine()) as again:
            assert exported(again) == expected([*written, *many], both)
            fetched = list(again.fetch([each.key for each in written]))
            assert {found.key: vector.tobytes() for found, vector in fetched} == {
                each.key: vector.tobytes()
                for each, vector in zip(written, ODD_VECTORS, strict=True)
            }

    def test_other_vectors_come_back_but_for_their_last_bits(self, engine: Engine) -> None:
        """Fails: a vector is stored at a lower precision than single."""
        written = [keyed(ACME, f"{n:03}") for n in range(50)]
        fill(engine, written)
        found = np.stack([vector for _, vector in engine.export()])
        np.testing.assert_allclose(found, vectors(50), atol=1e-6)

    def test_a_moved_row_keeps_its_vector(self, engine: Engine) -> None:
        """Fails: a move embeds anew, loses the exact vector, or leaves the row where it was."""
        stored = [keyed(ACME, name, extra="old") for name in "abc"]
        engine.bind(PROFILE)
        given = ODD_VECTORS[[0, 3, 2]]
        engine.put(stored, given, exact=True)
        wanted = [keyed(ACME, "a", added=1), keyed(OF_ADA, "b"), keyed(OF_ADA, "other")]
        engine.move([(old.key, new) for old, new in zip(stored, wanted, strict=True)])
        assert exported(engine) == expected(wanted, given)
        [best, other] = engine.nearest(selected(OF_ADA.label), unit(1, 2, 3, 4), 9)
        assert (best[0], other[0]) == (wanted[2], wanted[1])
        assert (best[1], other[1]) == pytest.approx((1, 0), abs=1e-5)

    def test_a_move_replaces_what_lies_at_its_end(self, engine: Engine) -> None:
        """Fails: two rows lie under one key, or the one that was there survives."""
        private, team = keyed(OF_ADA, "x", name="private"), keyed(ACME, "y", name="team")
        engine.bind(PROFILE)
        engine.put([private, team], ODD_VECTORS[:2], exact=True)
        moved = keyed(ACME, "y", name="moved")
        engine.move([(private.key, moved)])
        assert exported(engine) == expected([moved], ODD_VECTORS[:1])

    def test_a_move_of_a_missing_row_is_skipped(self, engine: Engine) -> None:
        """Fails: a move makes a row without a vector, or stops at the first that is missing."""
        stored = keyed(ACME, "a")
        fill(engine, [stored])
        wanted = keyed(OF_ADA, "a")
        missing = keyed(ACME, "missing"), keyed(BETA, "a")
        engine.move([(missing[0].key, missing[0]), (stored.key, wanted), (missing[1].key, stored)])
        assert [found for found, _ in engine.export()] == [wanted]

    def test_many_rows_move_at_once(self, engine: Engine) -> None:
        """Fails: a batch is cut off, or rows get each other's vectors."""
        stored = [keyed(ACME, f"{n:05}") for n in range(PAGED)]
        wanted = [keyed(OF_ADA, f"{PAGED - n:05}", position=n) for n in range(PAGED)]
        given = vectors(PAGED)
        engine.bind(PROFILE)
        engine.put(stored, given, exact=True)
        engine.move([(old.key, new) for old, new in zip(stored, wanted, strict=True)])
        assert exported(engine) == expected(wanted, given)

    def test_delete_counts_the_rows_that_were_there(self, engine: Engine) -> None:
        """Fails: ids that do not exist are reported as deleted."""
        written = [keyed(ACME, f"{n}") for n in range(5)]
        fill(engine, written)
        doomed = [
            written[0].key,
            RowKey(ACME.label, ChunkId("missing")),
            RowKey(BETA.label, written[1].id),
            written[3].key,
        ]
        assert engine.delete(doomed) == 2
        assert engine.delete(doomed) == 0
        assert engine.delete([]) == 0
        assert [found.key for found in engine.scan(selected(ACME.label))] == [
            written[n].key for n in (1, 2, 4)
        ]
        found = engine.nearest(selected(ACME.label), unit(1, 0, 0, 0), 9)
        assert len(found) == 3


class Operating(StoreSuite):
    """All rows, whosesoever."""

    def test_an_export_is_by_ascending_id_and_label_and_resumes(self, engine: Engine) -> None:
        """Fails: paging by offset or by insertion, or a filter on owners."""
        written = [keyed(scope, f"{n:05}") for scope in SCOPES for n in range(500)]
        fill(engine, written)
        keys = in_order(each.key for each in written)
        assert [found.key for found, _ in engine.export()] == keys
        assert [found.key for found, _ in engine.export(keys[1700])] == keys[1701:]

    def test_fetch_finds_the_rows_asked_for(self, engine: Engine) -> None:
        """Fails: a long list is cut off, a missing key ends the search, a vector is another's."""
        written = [keyed(scope, f"{n:04}") for scope in (ACME, BETA) for n in range(700)]
        given = vectors(1400)
        engine.bind(PROFILE)
        engine.put(written, given, exact=True)
        asked = [RowKey(ACME.label, ChunkId("missing")), *(each.key for each in written)]
        fetched = {found.key: (found, vector) for found, vector in engine.fetch(asked)}
        assert len(fetched) == 1400
        for each, vector in zip(written, given, strict=True):
            found, stored = fetched[each.key]
            assert found == each
            assert stored.tobytes() == vector.tobytes()
        assert list(engine.fetch([])) == []

    def test_malformed_rows_are_exported_and_deleted_too(
        self, engine: Engine, behind: Behind
    ) -> None:
        """Fails: an export filters by stamps; what nobody can read can be saved by nobody then."""
        fill(engine, [keyed(ACME, "sound")])
        unowned = RawRow("", ChunkId("unowned"), {"content": "text"})
        misplaced = RawRow(BETA.label, ChunkId("misplaced"), keyed(OF_BOB, "x").metadata)
        for planted in (unowned, misplaced):
            behind.plant(planted, unit(0, 1, 0, 0))
        found = by_key(each for each, _ in engine.export())
        assert {unowned.key, misplaced.key} < found.keys()
        assert dict(found[unowned.key].metadata) == {"content": "text"}
        fetched = by_key(each for each, _ in engine.fetch([unowned.key, misplaced.key]))
        assert fetched.keys() == {unowned.key, misplaced.key}
        assert engine.delete([unowned.key, misplaced.key]) == 2
        assert [each.id for each, _ in engine.export()] == ["sound"]

    def test_an_export_goes_on_while_rows_are_deleted(self, engine: Engine) -> None:
        """Fails: a row that is deleted meanwhile makes another one slip through."""
        written = [keyed(ACME, f"{n:05}") for n in range(PAGED)]
        fill(engine, written)
        exporting = engine.export()
        first, _ = next(exporting)
        gone = {each.key for each in written[1:1000:2]}
        assert engine.delete(sorted(gone)) == len(gone)
        kept = {each.key for each in written} - gone - {first.key}
        assert kept <= by_key(found for found, _ in exporting).keys()

    def test_a_truncated_store_is_as_before_its_first_bind(self, make_engine: MakeEngine) -> None:
        """Fails: rows, the embedder or something cached stay behind."""
        other = EmbedderProfile("another", 3)
        with closing(make_engine()) as engine:
            fill(engine, [keyed(scope, f"{n}") for n, scope in enumerate(SCOPES)])
            assert len(engine.nearest(selected(ACME.label), unit(1, 0, 0, 0), 9)) == 1
            assert engine.truncate() == len(SCOPES)
            assert engine.profile() is None
            assert list(engine.export()) == []
            assert list(engine.nearest(selected(ACME.label), unit(1, 0, 0, 0), 9)) == []
            assert engine.truncate() == 0
        with closing(make_engine()) as again:
            assert again.profile() is None
            assert again.bind(other) == other
            again.put([keyed(ACME, "x")], vectors(1, dimension=3), exact=False)
            assert len(again.nearest(selected(ACME.label), unit(1, 0, 0), 9)) == 1

    def test_what_lies_behind_the_engine_is_what_it_stores(
        self, engine: Engine, behind: Behind
    ) -> None:
        """Fails: your fixture ``behind`` reads or writes another store than your engine does."""
        written = [keyed(scope, f"{n}") for n, scope in enumerate(SCOPES)]
        engine.bind(PROFILE)
        engine.put(written, vectors(len(SCOPES)), exact=False)
        planted = keyed(BETA, "planted")
        behind.plant(planted, unit(0, 0, 0, 1))
        stored = behind.stored()
        assert stored.keys() == {each.key for each in (*written, planted)}
        for found, vector in engine.export():
            metadata, kept = stored[found.key]
            assert dict(metadata) == dict(found.metadata)
            assert np.allclose(np.frombuffer(kept, np.float32), vector, atol=1e-6)
        assert list(engine.get([BETA.label], [planted.id])) == [planted]


class Threads(StoreSuite):
    """One engine, many threads."""

    def test_eight_threads_read_while_one_writes(self, engine: Engine) -> None:
        """Fails: a read meets a row half-written, misses one that stays, or ends in an error."""
        size = 60
        given = vectors(size)
        stable = [keyed(ACME, f"stable {n:03}") for n in range(size)]
        fill(engine, stable, given)
        done = Event()

        def version(n: int, number: int) -> RawRow:
            return keyed(ACME, f"changing {n:03}", name=f"v{number}", content=f"v{number} " * 40)

        def require_whole(found: Iterable[RawRow]) -> set[RowKey]:
            answer = by_key(found)
            for each in answer.values():
                if each.id.startswith("changing"):
                    assert each.metadata["content"] == f"{each.metadata['name']} " * 40
            return set(answer)

        def write() -> None:
            try:
                for number in range(6):
                    engine.put(
                        [version(n, number) for n in range(size)],
                        vectors(size, seed=number),
                        exact=False,
                    )
                    moves = [version(n, number + 100) for n in range(0, size, 2)]
                    engine.move([(each.key, each) for each in moves])
                    engine.delete([version(n, 0).key for n in range(0, size, 3)])
            finally:
                done.set()

        def read(reader: int) -> int:
            all_of_them = selected(ACME.label)
            keys = {each.key for each in stable}
            for reads in count():
                ways = (
                    lambda: engine.scan(all_of_them),
                    lambda: engine.get([ACME.label], [each.id for each in stable]),
                    lambda: (found for found, _ in engine.export()),
                    lambda: (f for f, _ in engine.nearest(all_of_them, given[reader], 2 * size)),
                )
                assert require_whole(ways[(reads + reader) % len(ways)]()) >= keys
                if done.is_set():
                    return reads
            return 0

        with ThreadPoolExecutor(9) as threads:
            writing_thread = threads.submit(write)
            readers = [threads.submit(read, reader) for reader in range(8)]
            writing_thread.result()
            assert [reader.result() >= 0 for reader in readers] == [True] * 8

    def test_threads_that_bind_at_one_moment_agree(self, engine: Engine) -> None:
        """Fails: the loser of the race gets an error, or its embedder wins too."""
        profiles = [EmbedderProfile(f"embedder {n}", 4) for n in range(6)]
        with ThreadPoolExecutor(6) as threads:
            bound = list(threads.map(engine.bind, profiles))
        assert len(set(bound)) == 1
        assert engine.profile() == bound[0]


class Capabilities(StoreSuite):
    """What an engine may do beyond the primitives. A test of one that it lacks is skipped."""

    def test_listed_keys_are_those_of_the_rows(self, engine: Engine) -> None:
        """Fails: a key is missing, told twice, or of a row that was not selected."""
        if not isinstance(engine, ListsKeys):
            pytest.skip("the engine lists no keys")
        assert list(engine.keys(selected(ACME.label))) == []
        elsewhere = writing("acme", repo="lib")
        engine.bind(PROFILE)
        written = [keyed(scope, f"{n}") for scope in SCOPES for n in range(4)]
        written += [keyed(elsewhere, f"lib {n}") for n in range(4)]
        engine.put(written, vectors(len(written)), exact=False)
        engine.delete([written[0].key])
        for asked in (
            selected(),
            selected(ACME.label),
            selected(*(scope.label for scope in SCOPES)),
            Selection.of(ACME),
            Selection.of(elsewhere),
        ):
            listed = list(engine.keys(asked))
            assert sorted(listed) == sorted(found.key for found in engine.scan(asked))

    def test_kept_counts_are_the_numbers_of_rows(self, engine: Engine) -> None:
        """Fails: a count is not kept up to date by every write, or is of another label."""
        if not isinstance(engine, CountsRows):
            pytest.skip("the engine keeps no counts")
        elsewhere = writing("acme", repo="lib")
        labels = [scope.label for scope in SCOPES]
        assert [each for each in engine.counts(labels) if each.rows] == []
        engine.bind(PROFILE)
        written = [keyed(scope, f"{n}") for scope in (*SCOPES, elsewhere) for n in range(4)]
        engine.put(written, vectors(len(written)), exact=False)
        engine.put(written[:2], vectors(2), exact=True)
        assert engine.delete([written[0].key, RowKey(ACME.label, ChunkId("missing"))]) == 1
        engine.move([(written[1].key, keyed(OF_BOB, "moved"))])
        engine.move([(written[2].key, keyed(elsewhere, "0"))])
        recounted: dict[tuple[str, str, str], int] = {}
        for found, _ in engine.export():
            owner = found.metadata[fields.TENANT_ID], found.metadata[fields.REPO_SLUG]
            recounted[found.label, *owner] = recounted.get((found.label, *owner), 0) + 1
        counted = {tuple(each[:3]): each.rows for each in engine.counts(labels) if each.rows}
        assert counted == recounted
        assert {each.label for each in engine.counts([BETA.label]) if each.rows} == {BETA.label}
        engine.truncate()
        assert [each for each in engine.counts(labels) if each.rows] == []

    def test_postings_are_those_of_the_rows(self, engine: Engine) -> None:
        """Fails: a write leaves postings behind, or a condition narrows the statistics."""
        if not isinstance(engine, Lexical):
            pytest.skip("the engine keeps no postings")
        labels = (ACME.label, OF_ADA.label)
        terms = ["alpha", "beta", "app", "never"]
        empty = engine.postings(Selection(labels, {}), terms)
        assert empty is not None
        assert empty.statistics.rows == 0
        texts = ("alpha beta alpha", "beta", "other words", "")
        rows_of = [
            keyed(scope, f"{n}", content=text, kind="odd" if n % 2 else "even")
            for scope in (*SCOPES, writing("acme", repo="lib"))
            for n, text in enumerate(texts, 10 * (scope.repo_slug == "lib"))
        ]
        rows_of = [
            each._replace(metadata={**each.metadata, fields.SOURCE_PATH: f"{each.id}.md"})
            for each in rows_of
        ]
        fill(engine, rows_of)
        engine.put([keyed(ACME, "0", content="beta", name="alpha")], vectors(1), exact=False)
        engine.delete([RowKey(ACME.label, ChunkId("1")), RowKey(BETA.label, ChunkId("0"))])
        engine.move([(RowKey(OF_BOB.label, ChunkId("0")), keyed(OF_ADA, "moved", content="alpha"))])
        for equalities, path in (
            ({}, None),
            ({}, "[0-4].md"),
            ({fields.KIND: "odd"}, None),
            ({fields.REPO_SLUG: "lib"}, "1*"),
            ({"unknown": "x"}, None),
        ):
            for asked in (labels, labels[:1], (*labels, "team:nobody"), ()):
                for some in (terms, terms[:1], []):
                    selection = Selection(asked, equalities, path)
                    found = engine.postings(selection, some)
                    assert found is not None
                    assert lexical_facts(found) == lexical_rule(
                        [each for each, _ in engine.export()], selection, some
                    )

    def test_writes_of_a_transaction_are_all_there_or_none(self, make_engine: MakeEngine) -> None:
        """Fails: a write within a transaction is committed by itself."""
        with closing(make_engine()) as engine:
            if not isinstance(engine, Transactional):
                pytest.skip("the engine has no transactions")
            kept = [keyed(ACME, "kept"), keyed(ACME, "moved")]
            fill(engine, kept)
            before = exported(engine)

            def write_and_fail(engine: Engine) -> None:
                engine.put([keyed(ACME, "new")], vectors(1), exact=False)
                engine.move([(kept[1].key, keyed(OF_ADA, "moved"))])
                assert engine.delete([kept[0].key]) == 1
                assert [found.id for found in engine.scan(selected(ACME.label))] == ["new"]
                raise KeyError

            with pytest.raises(KeyError), engine.transaction():
                write_and_fail(engine)
            assert exported(engine) == before
            found = engine.nearest(selected(ACME.label), unit(1, 0, 0, 0), 9)
            assert {each.id for each, _ in found} == {"kept", "moved"}
            with engine.transaction():
                assert engine.delete([kept[0].key]) == 1
                engine.put([keyed(ACME, "new")], vectors(1), exact=False)
        with closing(make_engine()) as again:
            assert [found.id for found, _ in again.export()] == ["moved", "new"]

    def test_a_new_index_has_every_row_as_it_was(self, engine: Engine) -> None:
        """Fails: making the index anew loses or changes rows, or asks for vectors that are kept."""
        if not isinstance(engine, Reindexable):
            pytest.skip("the engine has no index apart from its rows")
        written = [raw(each) for each in rows(ACME, 30)]
        fill(engine, written)
        engine.put([keyed(BETA, "exact")], ODD_VECTORS[1:2], exact=True)
        before = [(key, metadata) for key, metadata, _ in exported(engine)]
        assert sum(engine.reindex(lambda found: vectors(len(found), seed=7))) == 31
        assert [(key, metadata) for key, metadata, _ in exported(engine)] == before
        [(_, vector)] = engine.fetch([RowKey(BETA.label, ChunkId("exact"))])
        assert vector.tobytes() == ODD_VECTORS[1].tobytes()
        some: Vector = next(v for found, v in engine.export() if found.label == ACME.label)
        [(_, score)] = engine.nearest(selected(ACME.label), some / np.linalg.norm(some), 1)
        assert score == pytest.approx(1, abs=1e-5)

    def test_an_examination_tells_and_writes_nothing(self, engine: Engine, behind: Behind) -> None:
        """Fails: a sound store is found at fault, or the examination changes it."""
        if not isinstance(engine, Examinable):
            pytest.skip("the engine does not examine itself")
        assert engine.remedy("a key that no engine has") is None
        fill(engine, [raw(row(ACME, "a"))])
        before = behind.stored()
        checks = list(engine.examine())
        assert all(isinstance(check, Check) for check in checks)
        assert [check for check in checks if check.state.value == "error"] == []
        assert behind.stored() == before
