"""How the command line tells errors: codes by kind, and words for every remedy."""

from __future__ import annotations

import errno

import click
import pytest

from tenantkb.adapters.cli.errors import (
    CONFIRM_NUMBER,
    EXIT_CODES,
    PUSH_ALL,
    REMEDIES,
    Failure,
    cannot,
    error_object,
)
from tenantkb.domain.errors import (
    ErrorKind,
    InvalidInputError,
    NotFoundError,
    Remedy,
    StoreFullError,
    StoreLockedError,
)


def test_every_kind_has_an_exit_code_and_every_remedy_has_words() -> None:
    assert EXIT_CODES.keys() == set(ErrorKind)
    assert {0, 1}.isdisjoint(EXIT_CODES.values())
    assert REMEDIES.keys() == {*Remedy, CONFIRM_NUMBER, PUSH_ALL}


@pytest.mark.parametrize(
    ("error", "code", "name"),
    [
        (InvalidInputError("x"), 2, "KB_INVALID_INPUT"),
        (click.UsageError("x"), 2, "KB_INVALID_INPUT"),
        (StoreLockedError("x"), 5, "KB_STORE_LOCKED"),
        (NotFoundError("x"), 7, "KB_NOT_FOUND"),
        (OSError(errno.ENOSPC, "No space left on device"), 4, "KB_STORE_FULL"),
        (OSError(errno.EMFILE, "Too many open files"), 4, "KB_SYSTEM"),
        (ZeroDivisionError("x"), 70, "KB_INTERNAL"),
    ],
)
def test_an_error_has_a_code_whatever_raised_it(error: Exception, code: int, name: str) -> None:
    failure = Failure.of(error)
    assert (failure.exit_code, failure.code) == (code, name)


def test_a_remedy_that_only_an_adapter_knows_is_told_by_its_key() -> None:
    told = error_object(NotFoundError("x", remedy="turn-it-off-and-on"))["error"]
    assert told["remedy"] == {"key": "turn-it-off-and-on", "words": None}
    assert error_object(NotFoundError("x"))["error"]["remedy"] is None


def test_a_file_that_has_no_room_is_told_from_one_that_is_not_there() -> None:
    full = cannot("write", "out.jsonl", OSError(errno.EDQUOT, "Disk quota exceeded"))
    assert isinstance(full, StoreFullError)
    assert str(full) == "cannot write out.jsonl: Disk quota exceeded"
    missing = cannot("read", "in.jsonl", OSError(errno.ENOENT, "No such file or directory"))
    assert isinstance(missing, InvalidInputError)
