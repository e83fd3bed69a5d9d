"""The id of a row, and its address in a store."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, NamedTuple, Self

from tenantkb.domain.errors import InvalidInputError, StoreMismatchError
from tenantkb.domain.paths import is_well_formed

LENGTH: Final = 512
"""Of an id that a client sends, in characters. The server's own are 64 hexadecimal digits."""


class IdScheme(StrEnum):
    """How an installation derives the ids of its rows, see :mod:`domain.derivation`.

    ``CONTENT``: from a fingerprint of the content. ``NEO13``: as the JavaScript system does from
    its release 13.1.0 on, where the owner takes part in the fingerprint.
    """

    CONTENT = "content"
    NEO13 = "neo13"

    def require(self, other: IdScheme, place: str) -> None:
        """Refuse to mix: under another scheme every row would be stored a second time.

        Raises:
            StoreMismatchError: ``other`` is another one.
        """
        if other is not self:
            raise StoreMismatchError(
                f"the rows at {place} have ids of the scheme {self}, and tenancy.ids is {other}: "
                f"set it to {self}; or export them under {self}, truncate the collection, and "
                f"import them under {other}, which derives their ids anew"
            )


class ChunkId(str):
    """The id of a row: text, of a type of its own so that no other text passes for one.

    One is *derived* from a chunk's owner, audience, path and fingerprint
    (:func:`tenantkb.domain.derivation.derived_id`), *read back* from a store (the constructor), or
    *parsed* where a client names it (:meth:`parse`). It compares, sorts and is written as its text.

    Raises:
        InvalidInputError: it is no text, is empty, or has no UTF-8 form.
    """

    __slots__ = ()

    def __new__(cls, text: object) -> Self:
        if type(text) is cls:
            return text
        if not isinstance(text, str) or not text or not is_well_formed(text):
            raise InvalidInputError("an id of a row is text that is not empty and has a UTF-8 form")
        return super().__new__(cls, text)

    @classmethod
    def parse(cls, text: Any) -> Self:
        """The id that a client names; whether there is such a row is another question.

        Raises:
            InvalidInputError: it is not 1 to 512 characters of text with a UTF-8 form.
        """
        if isinstance(text, str) and len(text) > LENGTH:
            raise InvalidInputError(f"an id has at most {LENGTH} characters")
        return cls(text)

    def __repr__(self) -> str:
        return f"ChunkId({str(self)!r})"

    def __str__(self) -> str:
        return str.__str__(self)


class RowKey(NamedTuple):
    """The address of a row in every store. Rows of two audiences never meet, whatever their ids.

    Attributes:
        label: The access label of the row's audience.
        id: The row's id.
    """

    label: str
    id: ChunkId
