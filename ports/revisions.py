"""What earlier pushes told about a repository, and what a version control system knows of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from tenantkb.domain.deletion import KnownState


class RevisionLog(Protocol):
    """The last known head and the latest manifest of every (tenant, repository).

    It survives crashes. It says nothing about which rows exist: only the store knows that.
    """

    def known(self, tenant_id: str, repo_slug: str) -> KnownState:
        """What is known of a repository; of one that was never recorded, nothing."""
        ...

    def replace(
        self, tenant_id: str, repo_slug: str, expected: Collection[KnownState], known: KnownState
    ) -> bool:
        """Replace what is known of a repository, if that is one of ``expected`` at present.

        Nothing comes between the comparison and the replacement.

        Returns:
            Whether ``known`` is recorded now. If so, it is durable.
        """
        ...


class DeletedPaths(Protocol):
    """The files of one repository, as its version control system knows them."""

    def between(self, base: str, head: str) -> frozenset[str]:
        """The source paths that ``base`` has and ``head`` has not. A renamed file is one of them.

        Raises:
            InvalidInputError: there is no such repository or revision.
        """
        ...
