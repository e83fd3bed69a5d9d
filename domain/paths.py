"""Where a chunk comes from: tenant, repository, kind of root, path inside it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Any, Final

from attrs import Attribute, field, frozen

from tenantkb.domain import fields
from tenantkb.domain.errors import InvalidInputError, MalformedRowError
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
    between = f"/{value}/"
    if "//" in between or "/./" in between or "/../" in between:
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
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _tenant_id(_: Any, __: Attribute[str], value: str) -> None:
    require_tenant_id(value)


def _repo_slug(_: Any, __: Attribute[str], value: str) -> None:
    require_repo_slug(value)


def _source_path(_: Any, __: Attribute[str], value: str) -> None:
    require_source_path(value)


def _root_kind(_: Any, __: Attribute[RootKind], value: object) -> None:
    if not isinstance(value, RootKind):
        raise InvalidInputError(f"{value!r} is not a kind of root")


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
    root_kind: RootKind = field(validator=_root_kind)
    source_path: str = field(validator=_source_path)

    def metadata(self) -> dict[str, str]:
        """The path as flat metadata, without tenant and repository, which the stamp has."""
        return {fields.ROOT_KIND: self.root_kind.value, fields.SOURCE_PATH: self.source_path}


def require_place(metadata: Mapping[str, Any]) -> None:
    """Refuse metadata whose kind of root or path is not what the server writes.

    With :func:`domain.stamps.stamp_of`, what :func:`path_of` asks for, without making the path.

    Raises:
        MalformedRowError: they are not.
    """
    root_kind = metadata.get(fields.ROOT_KIND)
    if not isinstance(root_kind, str) or root_kind not in _ROOT_KINDS:
        raise MalformedRowError("the row has no known kind of root")
    try:
        require_source_path(metadata.get(fields.SOURCE_PATH))
    except InvalidInputError as error:
        raise MalformedRowError(str(error)) from error


def path_of(metadata: Mapping[str, Any]) -> PathIdentity:
    """Read where a stored row comes from, strictly.

    Raises:
        MalformedRowError: a field is missing, of the wrong type or malformed.
    """
    try:
        return _path(
            metadata.get(fields.TENANT_ID),
            metadata.get(fields.REPO_SLUG),
            metadata.get(fields.ROOT_KIND),
            metadata.get(fields.SOURCE_PATH),
        )
    except TypeError:  # a list or an object, which no cache takes and no path holds
        raise MalformedRowError("the row has a path that is not made of texts") from None


@lru_cache(maxsize=4096, typed=True)
def _path(
    tenant_id: object, repo_slug: object, root_kind: object, source_path: object
) -> PathIdentity:
    """The rows of one file come one after the other, so their path is made once and shared."""
    if not isinstance(root_kind, str) or root_kind not in _ROOT_KINDS:
        raise MalformedRowError("the row has no known kind of root")
    try:
        return PathIdentity(
            require_tenant_id(tenant_id),
            require_repo_slug(repo_slug),
            RootKind(root_kind),
            require_source_path(source_path),
        )
    except InvalidInputError as error:
        raise MalformedRowError(str(error)) from error


_ROOT_KINDS: Final = frozenset(kind.value for kind in RootKind)
