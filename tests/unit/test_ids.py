"""Ids as values: what passes for one, and what a client may name."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.ids import LENGTH, ChunkId, RowKey

texts = st.text(st.characters(codec="utf-8"), min_size=1)


@given(texts, texts)
def test_an_id_compares_sorts_and_is_written_as_its_text(left: str, right: str) -> None:
    first, second = ChunkId(left), ChunkId(right)
    assert first == left
    assert hash(first) == hash(left)
    assert (first < second, first == second) == (left < right, left == right)
    assert (str(first), f"{first}", json.dumps(first)) == (left, left, json.dumps(left))
    assert type(str(first)) is str


def test_an_id_shows_that_it_is_one() -> None:
    assert repr(ChunkId("a'b")) == 'ChunkId("a\'b")'


@given(texts)
def test_an_id_of_an_id_is_the_same_one_and_a_copy_is_one_too(text: str) -> None:
    made = ChunkId(text)
    assert ChunkId(made) is made
    for again in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert (again, type(again)) == (made, ChunkId)


NO_IDS: list[Any] = ["", "\ud800", "a\udfff", None, 7, True, b"a", ["a"], {"$ne": ""}]


@pytest.mark.parametrize("value", NO_IDS)
@pytest.mark.parametrize("make", [ChunkId, ChunkId.parse])
def test_what_is_no_text_with_a_utf_8_form_is_no_id(make: Any, value: object) -> None:
    with pytest.raises(InvalidInputError):
        make(value)


@pytest.mark.parametrize("length", [1, 64, LENGTH])
def test_a_client_names_ids_of_a_bounded_length(length: int) -> None:
    assert ChunkId.parse("x" * length) == "x" * length
    assert type(ChunkId.parse("x" * length)) is ChunkId


def test_a_longer_id_is_none_that_a_client_may_name_though_a_store_may_hold_it() -> None:
    longer = ChunkId("x" * (LENGTH + 1))
    for named in (longer, str(longer)):
        with pytest.raises(InvalidInputError, match="512"):
            ChunkId.parse(named)


def test_rows_of_two_audiences_never_meet_whatever_their_ids() -> None:
    chunk_id = ChunkId("x")
    assert RowKey("team:acme", chunk_id) != RowKey("team:beta", chunk_id)
    assert RowKey("team:acme", chunk_id) == RowKey("team:acme", ChunkId("x"))
