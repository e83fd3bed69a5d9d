"""The classes of the repositories that a caller may read."""

from __future__ import annotations

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
        self, context: TenantContext, *, criteria: Criteria = ANY
    ) -> list[RepositoryHierarchy]:
        """One hierarchy for each readable repository with classes, by tenant and repository.

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
            for (tenant, repo), classes in sorted(found.items())
        ]
