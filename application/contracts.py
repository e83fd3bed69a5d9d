"""Which contract a record means to fulfil, and what is wrong with it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, Final

from attrs import frozen

from tenantkb import schemas
from tenantkb.domain import fields
from tenantkb.domain.records import RecordProblem, Unreadable, pointer, shown
from tenantkb.domain.rows import chunk_problems

PROBLEMS_KEPT: Final = 50
"""How many problems of a refused submission are told one by one; the others are counted."""


class Contract(Enum):
    """What a record is. The values are for people and machines to read.

    ``PARSED_CHUNK`` and ``BACKUP_RECORD`` have schemas of these names. ``EXTRACTED_CHUNK`` is a
    line as ``tenantkb create`` writes it, of which only as much is asked as a row needs.
    """

    PARSED_CHUNK = "parsed-chunk-v1"
    BACKUP_RECORD = "backup-record-v1"
    EXTRACTED_CHUNK = "extracted-chunk"


NESTING: Final = 100
"""The most lists and objects within each other, the record not counted.

Rows keep nested values as JSON text, which is written recursively.
"""

_PARSED_CHUNK_MARKS: Final = frozenset(
    {"schemaVersion", "parserId", "parserVersion", fields.HASH_INPUTS}
)
_BACKUP_MARKS: Final = frozenset({fields.EMBEDDING, "metadata", fields.DOCUMENT})


def ingest_contract_of(record: Mapping[str, Any]) -> Contract:
    """What a record that is sent for embedding means to be: no extracted chunk has those marks."""
    if _PARSED_CHUNK_MARKS.isdisjoint(record):
        return Contract.EXTRACTED_CHUNK
    return Contract.PARSED_CHUNK


def contract_of(record: Mapping[str, Any]) -> Contract:
    """What a record means to be, wherever it is sent: a chunk has content, a backup record none."""
    if fields.CONTENT in record or _BACKUP_MARKS.isdisjoint(record):
        return ingest_contract_of(record)
    return Contract.BACKUP_RECORD


def problems_of(contract: Contract, line: int, record: object) -> list[RecordProblem]:
    """Everything that is wrong with a record, by pointer; empty for a valid one.

    Args:
        contract: What the record is held to.
        line: Number of the record in its submission.
        record: A JSON value, or why there is none.
    """
    if isinstance(record, Unreadable):
        return [RecordProblem(line, "", record.reason)]
    if not isinstance(record, dict):
        return [RecordProblem(line, "", f"expected an object, not {shown(record)}")]
    values = {key: value for key, value in record.items() if key != fields.EMBEDDING}
    if no_json := sorted(set(_no_json(values))):
        return [RecordProblem(line, place, reason) for place, reason in no_json]
    if contract is Contract.BACKUP_RECORD:
        return schemas.problems(contract.value, line, record)
    found = []
    if fields.EMBEDDING in record:
        found.append(RecordProblem(line, f"/{fields.EMBEDDING}", "expected no embedding"))
    if contract is Contract.PARSED_CHUNK:
        return found + schemas.problems(contract.value, line, values)
    faults = sorted(chunk_problems(values))
    return found + [RecordProblem(line, pointer(key), reason) for key, reason in faults]


def _no_json(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The values, at any depth, that are not taken whatever the contract, and what is.

    Python reads ``1e999`` as infinity and whole numbers of any size, which as numbers of double
    precision would be infinite as well.
    """
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((key,), record[key]) for key in record]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, dict | list):
            if len(place) > NESTING:
                yield pointer(place[0]), f"expected values nested at most {NESTING} deep"
                continue
            members = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += (((*place, key), member) for key, member in members)
        elif isinstance(value, int | float) and not abs(value) <= sys.float_info.max:
            yield pointer(*place), f"expected a number of double precision, not {shown(value)}"


@frozen
class Judgement:
    """What became of one record.

    Attributes:
        contract: What it means to be; for what is no object, an extracted chunk.
        is_object: Whether it is an object at all.
        problems: Everything that is wrong with it; empty for a valid one.
    """

    contract: Contract
    is_object: bool
    problems: list[RecordProblem]


def validate(records: Iterable[tuple[int, object]]) -> Iterator[Judgement]:
    """Judge records, each by its own contract.

    Nothing is stored, and nobody needs a standing for it.

    Args:
        records: Each with its line number, from 1: a JSON value, or why there is none.
    """
    for line, record in records:
        contract = contract_of(record if isinstance(record, dict) else {})
        yield Judgement(contract, isinstance(record, dict), problems_of(contract, line, record))
