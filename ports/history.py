"""What a version control system knows of a repository."""

from __future__ import annotations

from typing import Protocol


class DeletedPaths(Protocol):
    """The files of one repository, as its version control system knows them."""

    def between(self, base: str, head: str) -> frozenset[str]:
        """The source paths that ``base`` has and ``head`` has not. A renamed file is one of them.

        Raises:
            InvalidInputError: there is no such repository or revision.
        """
        ...
