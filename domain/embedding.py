"""What is embedded for a chunk, and what a store remembers of the embedder that did it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen, validators

from tenantkb.domain import fields
from tenantkb.domain.errors import StoreMismatchError


@frozen
class EmbedderProfile:
    """Which embedder made a collection's vectors.

    Attributes:
        name: Stable name of the model, and of everything about it that changes its vectors.
        dimension: Length of a vector, at least 1.
    """

    name: str = field(validator=validators.and_(validators.instance_of(str), validators.min_len(1)))
    dimension: int = field(validator=validators.and_(validators.instance_of(int), validators.ge(1)))

    def require(self, other: EmbedderProfile) -> None:
        """Refuse vectors of another embedder: distances between two models mean nothing.

        Raises:
            StoreMismatchError: ``other`` differs in name or dimension.
        """
        if other != self:
            raise StoreMismatchError(
                f"the collection holds vectors of {self.name} ({self.dimension} dimensions), "
                f"not of {other.name} ({other.dimension}); choose that embedder again, or "
                "sync into an empty store"
            )


def embedding_text(chunk: Mapping[str, Any]) -> str:
    r"""The text that stands for a chunk: ``"<type>: <name> in <className>\n<text>"``.

    ``<className>`` is empty where the chunk has none, and ``<text>`` is the description, or else
    the content. What a damaged row lacks is empty.
    """
    text = chunk.get(fields.DESCRIPTION) or chunk.get(fields.CONTENT) or ""
    place = f"{chunk.get(fields.NAME, '')} in {chunk.get(fields.CLASS_NAME) or ''}"
    return f"{chunk.get(fields.TYPE, '')}: {place}\n{text}"
