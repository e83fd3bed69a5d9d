"""What a store is asked for: the labels of a scope, and conditions that narrow it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from tenantkb.domain import fields, globs
from tenantkb.domain.context import ReadScope, WriteScope
from tenantkb.domain.rows import ANY, Criteria


@frozen
class Selection:
    """A scope and criteria as every store applies them: a positive allow-list, and equalities.

    Attributes:
        labels: A row is selected if its access label is one of these.
        equalities: And if every one of these metadata fields has this value, as text and exactly.
        path: And if its source path fits this pattern, where there is one (:mod:`domain.globs`).
    """

    labels: tuple[str, ...]
    equalities: Mapping[str, str] = field(hash=False)
    path: str | None = None

    @classmethod
    def of(cls, scope: ReadScope | WriteScope, criteria: Criteria = ANY) -> Selection:
        """The rows of a scope that fulfil some criteria; a write scope's are of its repository."""
        wanted = criteria.equalities()
        if isinstance(scope, ReadScope):
            return cls(scope.labels, wanted, criteria.path)
        if wanted.get(fields.REPO_SLUG, scope.repo_slug) != scope.repo_slug:
            return cls((), {})
        mine = {fields.TENANT_ID: scope.tenant_id, fields.REPO_SLUG: scope.repo_slug}
        return cls(scope.labels, {**wanted, **mine}, criteria.path)

    def matches(self, label: str, metadata: Mapping[str, Any]) -> bool:
        """Whether a row is selected: the rule that every store's own filter is held to."""
        return (
            label in self.labels
            and (
                not self.equalities
                or all(metadata.get(key) == value for key, value in self.equalities.items())
            )
            and self.fits(metadata.get(fields.SOURCE_PATH))
        )

    def fits(self, path: object) -> bool:
        """Whether a row's source path is one that is wanted; any is, where no pattern is given."""
        return self.path is None or (isinstance(path, str) and globs.matches(self.path, path))
