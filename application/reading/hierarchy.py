"""The classes of the repositories that an identity may read."""

from __future__ import annotations

from attrs import frozen

from tenantkb.application.reading.base import ReadUseCase
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.rows import ANY, Criteria


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
class ClassHierarchy(ReadUseCase):
    """Class hierarchies, derived from nothing but rows that the caller may read."""

    def __call__(
        self, identity: AgentIdentity | None, *, criteria: Criteria = ANY
    ) -> list[RepositoryHierarchy]:
        """One hierarchy for each readable repository with classes, by tenant and repository.

        Raises:
            AuthenticationError: no valid identity.
        """
        scope = self._scope(identity)
        found: dict[tuple[str, str], dict[str, str | None]] = {}
        for row in self._scan(scope, criteria):
            name, parent = row.metadata.get("className"), row.metadata.get("extends")
            if isinstance(name, str) and name:
                owner = (str(row.metadata["tenantId"]), str(row.metadata["repoSlug"]))
                classes = found.setdefault(owner, {})
                classes[name] = str(parent) if parent else classes.get(name)
        return [
            RepositoryHierarchy(tenant, repo, dict(sorted(classes.items())))
            for (tenant, repo), classes in sorted(found.items())
        ]
