"""Where a chunk comes from: tenant, repository, kind of root, path inside it."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

from attrs import Attribute, field, frozen

from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.identity import require_tenant_id

_REPO_SLUG_LENGTH: Final = 256


class RootKind(Enum):
    """What the source paths of a repository are relative to."""

    NEO_WORKSPACE = "neo-workspace"
    BARE_REPO = "bare-repo"
    EXTERNAL_SOURCE = "external-source"


def require_source_path(value: object) -> str:
    """Return ``value`` if it is a path relative to a repository root.

    Forward slashes; no leading slash, no empty, ``.`` or ``..`` segment, no back-slash, no NUL, no
    unpaired surrogate. A path of another form is refused, never repaired: two spellings of one path
    would be two rows, and a climbing path could name a file outside the repository.

    Raises:
        InvalidInputError: ``value`` has another form.
    """
    if not isinstance(value, str):
        raise InvalidInputError(f"a source path is a string, not {type(value).__name__}")
    if "\\" in value or "\0" in value or not is_well_formed(value):
        raise InvalidInputError(f"source path {value!r} holds a back-slash, NUL or lone surrogate")
    if any(segment in ("", ".", "..") for segment in value.split("/")):
        raise InvalidInputError(
            f"source path {value!r} is not relative to the repository root, or has an empty, "
            "'.' or '..' segment"
        )
    return value


def require_repo_slug(value: object) -> str:
    """Return ``value`` if it is a repository slug: 1 to 256 printable characters, no white space.

    Raises:
        InvalidInputError: anything else.
    """
    if (
        isinstance(value, str)
        and 0 < len(value) <= _REPO_SLUG_LENGTH
        and value.isprintable()
        and not any(character.isspace() for character in value)
    ):
        return value
    raise InvalidInputError(
        f"{value!r} is not a repository slug: 1 to {_REPO_SLUG_LENGTH} printable characters "
        "without white space, such as client-org/main-app"
    )


def is_well_formed(text: str) -> bool:
    """Whether ``text`` has a UTF-8 form, that is, no unpaired surrogate."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _tenant_id(_: Any, __: Attribute[str], value: str) -> None:
    require_tenant_id(value)


def _repo_slug(_: Any, __: Attribute[str], value: str) -> None:
    require_repo_slug(value)


def _source_path(_: Any, __: Attribute[str], value: str) -> None:
    require_source_path(value)


@frozen
class PathIdentity:
    """The identity of a file among all tenants' files; stored as four flat keys.

    Attributes:
        tenant_id: See :func:`domain.identity.require_tenant_id`.
        repo_slug: The tenant's own name for the repository.
        root_kind: What ``source_path`` is relative to.
        source_path: See :func:`require_source_path`.
    """

    tenant_id: str = field(validator=_tenant_id)
    repo_slug: str = field(validator=_repo_slug)
    root_kind: RootKind
    source_path: str = field(validator=_source_path)
