"""The classes of the repositories that a caller may read."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from tenantkb.domain import fields
from tenantkb.domain.context import TenantContext, require_context
from tenantkb.domain.rows import ANY, Criteria
from tenantkb.ports.store import ReadingStore


@frozen
class RepositoryHierarchy:
    """The classes of one repository.

    Attributes:
        tenant_id: Owner.
        repo_slug: Repository.
        parents: Parent by class, by ascending class name; ``None`` where none is known.
    """

    tenant_id: str
    repo_slug: str
    parents: dict[str, str | None]


@frozen
class ClassHierarchy:
    """Class hierarchies, derived from nothing but rows that the caller may read.

    Attributes:
        store: Where the rows lie.
    """

    store: ReadingStore

    def __call__(
        self, context: TenantContext, *, criteria: Criteria = ANY, root: str | None = None
    ) -> list[RepositoryHierarchy]:
        """One hierarchy for each readable repository with classes, by tenant and repository.

        Args:
            context: The caller's standing.
            criteria: What the chunks have to be that tell of classes.
            root: A class; the others are left out, but for its descendants in each repository.

        Raises:
            AuthenticationError: no valid standing.
            InvalidInputError: the criteria have another form.
            StoreError: the store failed.
        """
        scope = require_context(context).reading()
        found: dict[tuple[str, str], dict[str, str | None]] = {}
        for row in self.store.scan(scope, criteria):
            name, parent = row.fields.get(fields.CLASS_NAME), row.fields.get(fields.EXTENDS)
            if isinstance(name, str) and name:
                classes = found.setdefault((row.stamp.tenant_id, row.stamp.repo_slug), {})
                classes[name] = str(parent) if parent else classes.get(name)
        return [
            RepositoryHierarchy(tenant, repo, dict(sorted(classes.items())))
            for (tenant, repo), everything in sorted(found.items())
            if (classes := everything if root is None else _below(root, everything))
        ]


def _below(root: str, parents: Mapping[str, str | None]) -> dict[str, str | None]:
    """A class, if it is there, and its descendants, also where they descend from themselves."""
    children: dict[str, list[str]] = {}
    for name, parent in parents.items():
        if parent is not None:
            children.setdefault(parent, []).append(name)
    seen = set[str]()
    waiting = [root]
    while waiting:
        if (name := waiting.pop()) not in seen:
            seen.add(name)
            waiting += children.get(name, ())
    return {name: parent for name, parent in parents.items() if name in seen}
