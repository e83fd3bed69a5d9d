"""What can be configured: attrs classes with their defaults and bounds, nothing that reads them.

A field's name is the key in the file. A field that holds a secret has ``repr=False`` and is never
printed. Paths in a file are relative to it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

from attrs import Attribute, field, frozen, validators
from platformdirs import user_data_path


def _default_store_path() -> Path:
    return user_data_path("tenantkb", appauthor=False) / "store"


@frozen
class StoreSettings:
    """Where rows lie.

    Attributes:
        kind: ``sqlite`` (one file, in the folder ``path``), ``chroma`` (in this process, in the
            folder ``path``), ``chroma-http`` (a server), ``memory`` (gone with the process), or
            what an installed package offers as an entry point ``tenantkb.stores``.
        path: Folder of an embedded store.
        collection: Name of the one collection.
        wait: Seconds to wait for others that are writing.
        host: Name or address of the server.
        port: Port of the server.
        ssl: Whether the server is reached over TLS.
        token: Sent to the server as ``Authorization: Bearer``, if given.
        tenant: Chroma's own tenant; of Chroma Cloud, the account's.
        database: Chroma's own database.
        headers: Sent with every request, such as ``x-chroma-token``.
        options: Whatever else the store of this kind takes.
    """

    kind: str = "sqlite"
    path: Path = field(factory=_default_store_path)
    collection: str = "knowledge-base"
    wait: float = field(default=60.0, validator=validators.ge(0))
    host: str = "127.0.0.1"
    port: int = field(default=8000, validator=[validators.ge(1), validators.le(65535)])
    ssl: bool = False
    token: str | None = field(default=None, repr=False)
    tenant: str = "default_tenant"
    database: str = "default_database"
    headers: dict[str, str] = field(factory=dict, repr=False)
    options: dict[str, Any] = field(factory=dict)


@frozen
class StateSettings:
    """Where the installation keeps what it remembers, for a store that does not keep it itself.

    Attributes:
        path: A file; by default one in the folder ``store.path``. Processes that share it are one
            installation.
    """

    path: Path | None = None


def state_path(store: StoreSettings, path: Path | None = None) -> Path:
    """Where the state of a store lies that does not keep it itself, unless the settings say."""
    return path or store.path / "state.sqlite3"


def files_path(store: StoreSettings, path: Path | None = None) -> Path | None:
    """Where it is kept what files gave; ``None`` where the state ends with the process.

    Args:
        store: The store.
        path: That of the state, where the settings say.
    """
    if path is not None:
        return path.with_name(f"{path.name}.files")
    return None if store.kind == "memory" else store.path / "files"


@frozen
class AuditSettings:
    """Where operators' acts are recorded.

    Attributes:
        path: A file to which lines are appended; by default ``audit.jsonl`` beside the state.
    """

    path: Path | None = None


@frozen
class JobSettings:
    """How long jobs may take.

    Attributes:
        max_seconds: A job that was admitted in time may take so long, even if the caller's token
            expires meanwhile.
    """

    max_seconds: float = field(default=3600.0, validator=validators.gt(0))


@frozen
class EmbedderSettings:
    """What embeds texts.

    Attributes:
        kind: ``wordllama`` (local, offline), ``minilm`` (local, offline, better and slower; an
            extra), ``openai`` (any server with an OpenAI-compatible endpoint), ``hashing`` (words
            only; for tests), or what an installed package offers as an entry point
            ``tenantkb.embedders``.
        model: Name of the server's model.
        base_url: Address of the server's API, up to and without ``/embeddings``.
        api_key: Sent to the server as ``Authorization: Bearer``, if given.
        dimension: Dimension of the server's vectors.
        send_dimension: Whether the server is asked for vectors of this dimension, which only some
            models can shorten.
        batch_texts: Most texts in one request to the server. One that takes fewer and says so by
            400, 413 or 422 is sent fewer from then on.
        window_characters: Longer texts are sent to the server in overlapping windows.
        timeout: Seconds for one request.
        options: Whatever else the embedder of this kind takes.
    """

    kind: str = "wordllama"
    model: str | None = None
    base_url: str = "https://api.openai.com/v1"
    api_key: str | None = field(default=None, repr=False)
    dimension: int | None = field(default=None, validator=validators.optional(validators.ge(1)))
    send_dimension: bool = False
    batch_texts: int = field(default=128, validator=validators.ge(1))
    window_characters: int = field(default=8000, validator=validators.ge(500))
    timeout: float = field(default=60.0, validator=validators.gt(0))
    options: dict[str, Any] = field(factory=dict)


@frozen
class IdentitySettings:
    """Who calls from this machine.

    Attributes:
        kind: ``static`` (what ``tenant``, ``agent`` and ``roles`` say) or ``token`` (what the
            signed token says; the other three must not be given).
        tenant: Tenant id; by default the shared corpus's.
        agent: Agent id; by default the name of the operating system's user.
        roles: Roles besides ``agent``.
        token: The caller's JSON Web Token.
        keys: File with the public keys that sign tokens, a JWK set or one key in PEM.
        issuer: The only accepted issuer.
        audience: Must be among the token's audiences.
        algorithm: The only accepted signature algorithm.
        tenant_claim: Claim with the tenant id.
        roles_claim: Claim with a list of roles.
        leeway: Seconds for which a token counts after its expiry.
    """

    kind: Literal["static", "token"] = "static"
    tenant: str | None = None
    agent: str | None = None
    roles: tuple[Literal["agent", "curator", "operator"], ...] = ()
    token: str | None = field(default=None, repr=False)
    keys: Path | None = None
    issuer: str | None = None
    audience: str | None = None
    algorithm: str = "RS256"
    tenant_claim: str = "tenant"
    roles_claim: str = "roles"
    leeway: float = field(default=0.0, validator=[validators.ge(0), validators.le(3600)])


@frozen
class TenancySettings:
    """The shared namespace, see :class:`domain.stamps.SharedNamespace`, and the scheme of ids.

    Attributes:
        shared_tenant: The tenant whose team rows everybody reads.
        shared_repo: The repository of the shared corpus.
        ids: How ids are derived, see :class:`domain.ids.IdScheme`; chosen once, before the first
            row is stored.
    """

    shared_tenant: str = "neo-shared"
    shared_repo: str = "neo"
    ids: Literal["content", "neo13"] = "content"


@frozen
class SyncSettings:
    """How a synchronisation runs.

    Attributes:
        deletable_share: Largest share, 0 to 1, of a repository's rows that is deleted unasked.
        batch_size: Rows embedded and written at a time.
    """

    deletable_share: float = field(default=0.5, validator=[validators.ge(0), validators.le(1)])
    batch_size: int = field(default=256, validator=validators.ge(1))


@frozen
class RetrievalSettings:
    """How questions are answered.

    Attributes:
        vector_weight: Share of the vectors in a score, 0 to 1; the words have the rest. About 0.5
            suits ``minilm``.
        per_file: Most answers from one file, as long as there are others.
    """

    vector_weight: float = field(default=0.35, validator=[validators.ge(0), validators.le(1)])
    per_file: int = field(default=4, validator=[validators.ge(1), validators.le(1000)])


@frozen
class IngestSettings:
    """How much one call sends, and what happens to records that claim another owner or audience.

    Attributes:
        max_chunks: The most chunks that one call of a tool of agents sends; what is more is pushed
            in bulk.
        spoof_mode: ``overwrite`` (replace the claim and log it) or ``reject`` (refuse all).
        spoof_threshold: Spoofed fields of one identity within the window past which all are
            rejected.
        spoof_window: Seconds for which a spoofed field counts.
    """

    max_chunks: int = field(default=50, validator=validators.ge(1))
    spoof_mode: Literal["overwrite", "reject"] = "overwrite"
    spoof_threshold: int = field(default=100, validator=validators.ge(0))
    spoof_window: float = field(
        default=3600.0, validator=[validators.gt(0), validators.le(365 * 86_400)]
    )


@frozen
class ServeSettings:
    """How ``tenantkb serve`` is reached.

    Attributes:
        host: Address that it listens on.
        port: Port that it listens on; 0 for any free one.
        url: Its address as clients know it, without a path; by default the one that it listens on.
            Requests for another host are refused (DNS rebinding).
        origins: Origins, such as ``https://inspector.example``, whose pages may call it besides its
            own.
        authorization_servers: Where clients get their tokens, as its metadata (RFC 9728) tells
            them; by default ``identity.issuer``, where that is an address.
        metrics_address: ``HOST:PORT`` for Prometheus, on a listener of its own; empty for none.
        metrics_tenants: Whether metrics name tenants.
        request_seconds: A question that takes longer is given up.
        stop_seconds: Requests that are still running may take so long once it is told to stop.
        threads: Most questions that are answered at a time.
        jobs: Most synchronisations and ingestions that run at a time.
    """

    host: str = "127.0.0.1"
    port: int = field(default=8600, validator=[validators.ge(0), validators.le(65535)])
    url: str | None = None
    origins: tuple[str, ...] = ()
    authorization_servers: tuple[str, ...] = ()
    metrics_address: str = "127.0.0.1:9600"
    metrics_tenants: bool = False
    request_seconds: float = field(default=30.0, validator=validators.gt(0))
    stop_seconds: float = field(default=20.0, validator=validators.ge(0))
    threads: int = field(default=8, validator=validators.ge(1))
    jobs: int = field(default=2, validator=validators.ge(1))


@frozen
class LimitSettings:
    """What one tenant may ask of ``tenantkb serve``; past it, requests are refused.

    Attributes:
        requests_per_second: Requests that may begin within any second.
        concurrent_requests: Requests that may be there at a time, those included that wait.
        parallel_questions: Questions that are answered at a time; the others of the tenant wait.
        bytes_per_minute: Bytes of request bodies within any minute.
        body_bytes: Bytes of one request's body, or of one line of a stream.
    """

    requests_per_second: int = field(default=10, validator=validators.ge(1))
    concurrent_requests: int = field(default=8, validator=validators.ge(1))
    parallel_questions: int = field(default=1, validator=validators.ge(1))
    bytes_per_minute: int = field(default=256 << 20, validator=validators.ge(1 << 10))
    body_bytes: int = field(default=4 << 20, validator=validators.ge(1 << 10))


@frozen
class FactorySettings:
    """A source or a parser of the user's own.

    Attributes:
        factory: Where it is, ``"package.module:Class"``.
        options: Keyword arguments that it is made with.
        replace: Whether it may take the place of a registered one of the same name.
    """

    factory: str
    options: dict[str, Any] = field(factory=dict)
    replace: bool = False


@frozen(kw_only=True)
class WorkspaceSettings:
    """How a workspace is read.

    Attributes:
        use_default_sources: Whether the ten default sources are registered.
        use_default_parsers: Whether the seven default parsers are registered.
        use_entry_points: Whether sources and parsers of other installed packages are registered.
        raw_repo_source: Whether every text file of the workspace becomes one chunk.
        code_source: Whether every text file of the workspace is cut by its syntax.
        custom_sources: By name, sources of the user's own.
        custom_parsers: By name, parsers of the user's own.
        parser_patterns: By pattern of a file's name (with a slash in it: of its path), the name of
            the parser that takes such files, whatever source finds them; the first match counts.
        source_paths: By source name, the path or paths that replace its default.
        hierarchy_path: Where the workspace keeps its ``{className: parentClassName}``.
        root_kind: What the workspace is, see :class:`domain.paths.RootKind`.
    """

    use_default_sources: bool = True
    use_default_parsers: bool = True
    use_entry_points: bool = True
    raw_repo_source: bool = False
    code_source: bool = False
    custom_sources: dict[str, FactorySettings] = field(factory=dict)
    custom_parsers: dict[str, FactorySettings] = field(factory=dict)
    parser_patterns: dict[str, str] = field(factory=dict)
    source_paths: dict[str, Any] = field(factory=dict)
    hierarchy_path: str = "docs/output/class-hierarchy.json"
    root_kind: Literal["neo-workspace", "bare-repo", "external-source"] = "neo-workspace"


@frozen(kw_only=True)
class RepositorySettings(WorkspaceSettings):
    """A repository that is synchronised by name, or with all others.

    How its workspace is read is set here, or else at the top level.

    Attributes:
        workspace: Folder of the checkout.
        repo: Repository under which its rows are stored.
        tenant: Tenant whose repository it is; by default the caller's.
        visibility: Who may read its rows.
    """

    workspace: Path
    repo: str
    tenant: str | None = None
    visibility: Literal["team", "private"] = "team"


def _require_distinct(
    settings: Settings, _: Attribute[Any], entries: tuple[RepositorySettings, ...]
) -> None:
    """Of two workspaces with the same rows, each would have the other's deleted."""
    owners = Counter(
        (entry.tenant or settings.identity.tenant, entry.repo, entry.visibility)
        for entry in entries
    )
    for (_tenant, repo, visibility), count in owners.items():
        if count > 1:
            raise ValueError(
                f"repositories: {count} entries are {repo}, {visibility}, of one tenant, and each "
                "would delete what another stores; give each a `repo` of its own"
            )


@frozen(kw_only=True)
class Settings(WorkspaceSettings):
    """Everything that can be configured.

    Attributes:
        store: Where rows lie.
        state: Where the installation keeps what it remembers.
        audit: Where operators' acts are recorded.
        embedder: What embeds texts.
        jobs: How long jobs may take.
        identity: Who calls.
        tenancy: The shared namespace.
        sync: How a synchronisation runs.
        retrieval: How questions are answered.
        ingest: How much one call sends, and what happens to forged records.
        serve: How the server is reached.
        limits: What one tenant may ask of the server.
        import_path: Folders with the modules that ``custom_sources`` and ``custom_parsers`` name,
            besides what is installed.
        workers: Most processes that parse a workspace; by default one a processor.
        parse_seconds: Time that the parsing of one file may take.
        parse_bytes: Memory that the parsing of one file may take.
        cache_bytes: What is kept on disk of the extracted files of all workspaces, so that they are
            cut once; 0 keeps nothing.
        repositories: What ``tenantkb sync --all`` synchronises.
    """

    store: StoreSettings = field(factory=StoreSettings)
    state: StateSettings = field(factory=StateSettings)
    audit: AuditSettings = field(factory=AuditSettings)
    jobs: JobSettings = field(factory=JobSettings)
    embedder: EmbedderSettings = field(factory=EmbedderSettings)
    identity: IdentitySettings = field(factory=IdentitySettings)
    tenancy: TenancySettings = field(factory=TenancySettings)
    sync: SyncSettings = field(factory=SyncSettings)
    retrieval: RetrievalSettings = field(factory=RetrievalSettings)
    ingest: IngestSettings = field(factory=IngestSettings)
    serve: ServeSettings = field(factory=ServeSettings)
    limits: LimitSettings = field(factory=LimitSettings)
    import_path: tuple[Path, ...] = ()
    workers: int | None = field(default=None, validator=validators.optional(validators.ge(1)))
    parse_seconds: float = field(default=10.0, validator=[validators.gt(0), validators.le(3600)])
    parse_bytes: int = field(default=1 << 30, validator=validators.ge(1 << 28))
    cache_bytes: int = field(default=1 << 30, validator=validators.ge(0))
    repositories: tuple[RepositorySettings, ...] = field(default=(), validator=_require_distinct)
