"""What a synchronisation has stored: the files by the digest of their chunks, and the ids of these.

With it the next one tells, by what it finds in the workspace and by the addresses of the rows
alone, which files need neither be stamped nor compared. It says nothing where anything that a row
follows from besides its chunk is different.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from functools import cached_property

from attrs import evolve, frozen

from tenantkb.domain.ids import ChunkId


@frozen
class StoredBlock:
    """The chunks of one file.

    Attributes:
        digest: Of the lines that the source has written.
        ids: Those of the rows, for each line; one that another line has as well stands twice.
    """

    digest: str
    ids: tuple[ChunkId, ...]


@frozen(slots=False)
class Inventory:
    """The files that are stored.

    Attributes:
        conditions: A digest of all that their rows follow from besides the lines.
        blocks: In the order of the extraction, of which the first chunk with an id is stored.
    """

    conditions: str
    blocks: tuple[StoredBlock, ...]

    @cached_property
    def by_digest(self) -> Mapping[str, StoredBlock]:
        """The blocks, each once."""
        return {block.digest: block for block in self.blocks}

    @cached_property
    def entangled(self) -> tuple[str, ...]:
        """The blocks that share an id, in order: which of them is stored depends on the others."""
        owners = Counter(row_id for block in self.blocks for row_id in set(block.ids))
        shared = {row_id for row_id, count in owners.items() if count > 1}
        if not shared:
            return ()
        return tuple(each.digest for each in self.blocks if not shared.isdisjoint(each.ids))

    def without(self, ids: Set[ChunkId]) -> Inventory:
        """The files that share none of these ids, nor any with a file that does."""
        left = [block for block in self.blocks if ids.isdisjoint(block.ids)]
        if len(left) == len(self.blocks):
            return self
        gone = {
            row_id for block in self.blocks if not ids.isdisjoint(block.ids) for row_id in block.ids
        }
        return evolve(self, blocks=tuple(left)).without(gone)

    def still_tells(self, found: Sequence[str], new: Set[ChunkId]) -> bool:
        """Whether the rows of the known files follow from these alone, as they did.

        Args:
            found: The digests of the known files that were found, in order.
            new: The ids of all other chunks.
        """
        known = Counter(block.digest for block in self.blocks)
        if any(count > known[digest] for digest, count in Counter(found).items()):
            return False
        entangled = set(self.entangled)
        if tuple(digest for digest in found if digest in entangled) != self.entangled:
            return False
        return all(new.isdisjoint(self.by_digest[digest].ids) for digest in found)
