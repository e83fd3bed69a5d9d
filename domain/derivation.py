"""Fingerprints and ids of rows: the one place where they are derived, by either scheme.

An installation has one scheme (:class:`domain.ids.IdScheme`), which its shared namespace names and
its store records. In ``content`` the fingerprint of a chunk is made of its content alone, and a row
keeps it as ``hash``. In ``neo13``, that of the JavaScript system's release 13.1.0, the owner takes
part in the fingerprint, and what a row keeps as ``hash`` is its id. The owner is always the
server's, whatever a chunk claims.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from attrs import evolve

from tenantkb.domain import fields
from tenantkb.domain.canonical import FINGERPRINT_KEYS, content_fingerprint, digest, stringify
from tenantkb.domain.ids import ChunkId, IdScheme
from tenantkb.domain.stamps import SharedNamespace, TenantStamp, Visibility

ID_KEYS: Final = (
    fields.TENANT_ID,
    fields.REPO_SLUG,
    fields.HASH,
    fields.TYPE,
    fields.NAME,
    fields.SOURCE,
    fields.ORIGIN,
)
"""The fields that decide a row's id, in order of serialisation; in the shared corpus of the scheme
``content`` the fingerprint alone does."""

_OWNER: Final = (fields.TENANT_ID, fields.REPO_SLUG)
_CUSTOM_META: Final = "customMeta"


class Derived(NamedTuple):
    """What is derived for a row.

    Attributes:
        id: Its id.
        hash: What it keeps as ``hash``.
    """

    id: ChunkId
    hash: str


def fingerprint(chunk: Mapping[str, Any]) -> str:
    """The content hash of a chunk, computed here whatever the chunk claims as its ``hash``.

    Chunks of the default sources are hashed over
    :data:`domain.canonical.FINGERPRINT_KEYS`; those that list ``hashInputs`` over these fields.
    """
    inputs = _hash_inputs(chunk)
    return content_fingerprint(chunk) if inputs is None else digest(chunk, inputs)


def owned_fingerprint(chunk: Mapping[str, Any], tenant_id: str, repo_slug: str) -> str:
    """The fingerprint of an extracted chunk in ``neo13``: its owner, then its content."""
    return _owned_digest(chunk, tenant_id, repo_slug, FINGERPRINT_KEYS)


def created_fingerprint(chunk: Mapping[str, Any], namespace: SharedNamespace) -> str:
    """What a file of extracted chunks, which are nobody's yet, says as their ``hash``."""
    if namespace.ids is IdScheme.NEO13:
        return owned_fingerprint(chunk, namespace.tenant_id, namespace.repo_slug)
    return content_fingerprint(chunk)


def derived_id(
    chunk: Mapping[str, Any],
    content_hash: str,
    source_path: str,
    stamp: TenantStamp,
    namespace: SharedNamespace,
) -> ChunkId:
    """The id of a chunk's row, 64 hexadecimal digits.

    In the scheme ``content`` the id of a team row of the shared corpus is the fingerprint.
    Everywhere else owner, audience and path take part, so the same bytes under two tenants, two
    repositories, two paths or in two agents' private rows are different rows, and nobody can shadow
    or replace another's row by knowing its content.

    Args:
        chunk: Has a ``name``, and one of ``type`` and ``kind``.
        content_hash: Its fingerprint.
        source_path: Its file.
        stamp: Of the row.
        namespace: The shared one, which names the scheme.
    """
    private = stamp.visibility is Visibility.PRIVATE
    corpus = (namespace.tenant_id, namespace.repo_slug)
    of_corpus = (stamp.tenant_id, stamp.repo_slug) == corpus
    if namespace.ids is IdScheme.CONTENT and of_corpus and not private:
        return ChunkId(content_hash)
    owned = {
        fields.TENANT_ID: stamp.tenant_id,
        fields.REPO_SLUG: stamp.repo_slug,
        fields.HASH: content_hash,
        fields.TYPE: chunk.get(fields.TYPE) or chunk.get(fields.KIND),
        fields.NAME: chunk.get(fields.NAME),
        fields.SOURCE: source_path,
        fields.ORIGIN: stamp.origin_agent_identity if private else None,
    }
    return ChunkId(
        digest({key: value for key, value in owned.items() if value is not None}, ID_KEYS)
    )


def derived(
    chunk: Mapping[str, Any],
    source_path: str,
    stamp: TenantStamp,
    namespace: SharedNamespace,
    known_hash: str | None = None,
) -> Derived:
    """What is derived for a chunk's row.

    Args:
        chunk: See :func:`derived_id`.
        source_path: Its file.
        stamp: Of the row.
        namespace: The shared one, which names the scheme.
        known_hash: What an earlier row of the chunk keeps as ``hash``: in ``content`` the
            fingerprint, which is then not computed again.
    """
    if namespace.ids is IdScheme.NEO13:
        row_id = derived_id(chunk, _hash_in_neo13(chunk, stamp), source_path, stamp, namespace)
        return Derived(row_id, str(row_id))
    content_hash = known_hash or fingerprint(chunk)
    return Derived(derived_id(chunk, content_hash, source_path, stamp, namespace), content_hash)


class Settled(NamedTuple):
    """What is derived here for a stored row.

    Attributes:
        id: Its id.
        hash: What it keeps as ``hash``.
        name: Its name, as text.
    """

    id: ChunkId
    hash: str
    name: str


def settled(
    row_id: ChunkId,
    metadata: Mapping[str, Any],
    stamp: TenantStamp,
    namespace: SharedNamespace,
    origin: IdScheme | None = None,
) -> Settled | None:
    """What is derived here for a stored row, if its id is derived from it by a known scheme.

    An id of format 1, in which the agent of a private row took no part, and those of the JavaScript
    system count as well.

    Args:
        row_id: The id that it comes with.
        metadata: Its own.
        stamp: Its own.
        namespace: The shared one, which names the scheme here.
        origin: The scheme that it comes from, where that is known. In the shared corpus an id of
            ``content`` is whatever the row says as its ``hash``, so that comes last.

    Returns:
        ``None`` where the id is derived from something else, or where the row's fields are not
        those that its hash was made from, which the other scheme needs.
    """
    for scheme, chunk, content_hash in _recognised(row_id, metadata, stamp, namespace, origin):
        same = scheme is namespace.ids
        if not same and scheme is IdScheme.CONTENT and fingerprint(chunk) != content_hash:
            continue
        source_path = str(metadata[fields.SOURCE_PATH])
        known_hash = content_hash if same else None
        found = derived(chunk, source_path, stamp, namespace, known_hash)
        return Settled(*found, _name_of(chunk))
    return None


def javascript_id(
    row_id: ChunkId,
    metadata: Mapping[str, Any],
    stamp: TenantStamp,
    namespace: SharedNamespace,
) -> tuple[ChunkId, object] | None:
    """The id that the JavaScript system's release 13.1.0 gives a team row, and the row's name.

    Returns:
        ``None`` where the row's own id is not derived from it, see :func:`settled`.
    """
    origin = namespace.ids
    for scheme, chunk, content_hash in _recognised(row_id, metadata, stamp, namespace, origin):
        if scheme is IdScheme.CONTENT and fingerprint(chunk) != content_hash:
            continue
        theirs = next(_hashes_in_javascript(chunk, stamp))
        source_path = str(metadata[fields.SOURCE_PATH])
        there = _under(namespace, IdScheme.NEO13)
        return derived_id(chunk, theirs, source_path, stamp, there), chunk.get(fields.NAME)
    return None


def _recognised(
    row_id: ChunkId,
    metadata: Mapping[str, Any],
    stamp: TenantStamp,
    namespace: SharedNamespace,
    origin: IdScheme | None,
) -> Iterator[tuple[IdScheme, Mapping[str, Any], str]]:
    """By which scheme, from which reading of a row and from which fingerprint its id is derived."""
    source_path = metadata.get(fields.SOURCE_PATH)
    if not isinstance(source_path, str):
        return
    team = TenantStamp(stamp.tenant_id, stamp.repo_slug, Visibility.TEAM)
    audiences = (team,) if stamp.visibility is Visibility.TEAM else (stamp, team)
    for scheme in (IdScheme.NEO13, IdScheme.CONTENT) if origin is None else (origin,):
        there = _under(namespace, scheme)
        for chunk in _readings(metadata):
            for content_hash in _hashes(chunk, stamp, there):
                for whose in audiences:
                    if row_id == derived_id(chunk, content_hash, source_path, whose, there):
                        yield scheme, chunk, content_hash


def _name_of(chunk: Mapping[str, Any]) -> str:
    name = chunk.get(fields.NAME)
    return name if isinstance(name, str) else stringify(name)


def _readings(metadata: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The chunks that a row may have been made of.

    Stores hold a name as text that may have been a number, so it is read as text and then as JSON.
    """
    chunk = dict(metadata)
    for key in (fields.HASH_INPUTS, _CUSTOM_META):
        value = _json(metadata.get(key))
        if isinstance(value, list | dict):
            chunk[key] = value
    yield chunk
    if (name := _json(metadata.get(fields.NAME))) is not None:
        yield {**chunk, fields.NAME: name}


def _json(text: Any) -> Any:
    """The value of a JSON text; ``None`` where it is none."""
    try:
        value = json.loads(text)  # which refuses what is no text
        stringify(value)
    except (TypeError, ValueError, RecursionError):
        return None
    return value


def _hashes(
    chunk: Mapping[str, Any], stamp: TenantStamp, namespace: SharedNamespace
) -> Iterator[str]:
    """The fingerprints that a stored row's chunk may have in the namespace's scheme."""
    if namespace.ids is IdScheme.NEO13:
        yield _hash_in_neo13(chunk, stamp)
        yield from _hashes_in_javascript(chunk, stamp)
        # What it extracts there has the default owner's hash, whoever stores it.
        yield created_fingerprint(chunk, namespace)
    elif isinstance(kept := chunk.get(fields.HASH), str) and kept:
        yield kept


def _hash_in_neo13(chunk: Mapping[str, Any], stamp: TenantStamp) -> str:
    """The fingerprint in ``neo13``; chunks that list ``hashInputs`` keep theirs."""
    if _hash_inputs(chunk) is not None:
        return fingerprint(chunk)
    return owned_fingerprint(chunk, stamp.tenant_id, stamp.repo_slug)


def _hashes_in_javascript(chunk: Mapping[str, Any], stamp: TenantStamp) -> Iterator[str]:
    """What the JavaScript system hashes, the likelier first.

    The owner takes part in every fingerprint there. A pushed record, whose type is its kind, is
    hashed over its ``hashInputs``; what a source has found is hashed as every chunk, although a
    source may list ``hashInputs`` as well.
    """
    inputs = _hash_inputs(chunk)
    found = owned_fingerprint(chunk, stamp.tenant_id, stamp.repo_slug)
    if inputs is None:
        yield found
        return
    pushed = _owned_digest(chunk, stamp.tenant_id, stamp.repo_slug, inputs)
    is_pushed = chunk.get(fields.TYPE) == chunk.get(fields.KIND)
    yield from (pushed, found) if is_pushed else (found, pushed)


def _owned_digest(
    chunk: Mapping[str, Any], tenant_id: str, repo_slug: str, keys: tuple[str, ...]
) -> str:
    owned = {**chunk, fields.TENANT_ID: tenant_id, fields.REPO_SLUG: repo_slug}
    return digest(owned, (*_OWNER, *(key for key in keys if key not in _OWNER)))


def _hash_inputs(chunk: Mapping[str, Any]) -> tuple[str, ...] | None:
    inputs = chunk.get(fields.HASH_INPUTS)
    listed = isinstance(inputs, list) and all(isinstance(key, str) for key in inputs)
    return tuple(inputs) if listed and inputs is not None else None


@lru_cache(maxsize=64)
def _under(namespace: SharedNamespace, ids: IdScheme) -> SharedNamespace:
    return evolve(namespace, ids=ids)
