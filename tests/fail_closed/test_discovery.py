"""The suite walks every facade that there is, and no facade can be added without it."""

from __future__ import annotations

from typing import Any

from tenantkb.application.reading.base import ReadUseCase
from tests.fail_closed.facades import (
    DIAGNOSING,
    OPERATED,
    READERS,
    SIGNALLED,
    WRITERS,
    discovered,
)


def concrete(kind: type) -> list[type]:
    """The classes of the application, below a class, that nothing else is made of."""
    children: list[type] = kind.__subclasses__()
    ours = [child for child in children if child.__module__.startswith("tenantkb.application.")]
    below = [found for child in ours for found in concrete(child)]
    return below or [kind]


def test_every_use_case_that_holds_a_store_has_an_entry_in_a_table() -> None:
    """Fails: a use case is new. Add it to one of the tables in facades.py."""
    tabled = {reader.use_case for reader in READERS.values()}
    for table in (WRITERS, SIGNALLED, DIAGNOSING, OPERATED):
        tabled |= set(table.values())
    assert set(discovered()) == tabled


def test_the_reading_ones_are_in_the_readers_table() -> None:
    """Fails: a reading use case is walked as if it only wrote."""
    discovered()
    assert {reader.use_case for reader in READERS.values()} == set(concrete(ReadUseCase))


def test_a_use_case_that_holds_a_store_can_be_called_or_is_a_base() -> None:
    """Fails: a facade hides under another name than ``__call__``; see facades.discovered."""
    bases = {base for found in discovered() for base in found.__mro__[1:]}
    assert holders() - set(discovered()) <= bases


def holders() -> set[Any]:
    return set(discovered(callable_only=False))
