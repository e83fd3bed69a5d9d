"""Configuration: one attrs class, filled from defaults, a TOML file and the environment.

Later ones win: defaults, then ``tenantkb.toml`` (``--config FILE``, or the current folder's), then
``TENANTKB_*`` variables. A variable is named after the key it sets: ``[store] path`` is
``TENANTKB_STORE_PATH``; the identity's have the short names ``TENANTKB_TENANT``, ``TENANTKB_AGENT``
and ``TENANTKB_ROLES``. Keys that do not exist and values of the wrong type are errors: a misspelt
setting that is ignored is found too late.
"""

from __future__ import annotations

import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import attrs
import cattrs
from attrs import field, frozen, validators
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError
from cattrs.gen import make_dict_structure_fn
from platformdirs import user_data_path

from domain.errors import ConfigurationError

FILE_NAME: Final = "tenantkb.toml"
_PREFIX: Final = "TENANTKB_"
_CONFIG_VARIABLE: Final = "TENANTKB_CONFIG"
T = TypeVar("T")


def _default_store_path() -> Path:
    return user_data_path("tenantkb", appauthor=False) / "store"


@frozen
class StoreSettings:
    """Where rows lie.

    Attributes:
        kind: ``chroma`` (in this process, at ``path``), ``chroma-http`` (a server) or ``memory``
            (gone with the process).
        path: Folder of the embedded store. The log of synchronisations lies there for every kind.
        host: Name or address of the server.
        port: Port of the server.
        ssl: Whether the server is reached over TLS.
        token: Sent to the server as ``Authorization: Bearer``, if given.
        collection: Name of the one collection.
    """

    kind: Literal["chroma", "chroma-http", "memory"] = "chroma"
    path: Path = field(factory=_default_store_path)
    host: str = "127.0.0.1"
    port: int = field(default=8000, validator=[validators.ge(1), validators.le(65535)])
    ssl: bool = False
    token: str | None = field(default=None, repr=False)
    collection: str = "knowledge-base"


@frozen
class EmbedderSettings:
    """What embeds texts.

    Attributes:
        kind: ``wordllama`` (local, offline), ``minilm`` (local, offline, better and slower; an
            extra), ``openai`` (any server with an OpenAI-compatible endpoint) or ``hashing``
            (words only; for tests).
        model: Name of the server's model.
        base_url: Address of the server's API, up to and without ``/embeddings``.
        api_key: Sent to the server as ``Authorization: Bearer``, if given.
        dimension: Dimension of the server's vectors.
        window_characters: Longer texts are sent to the server in overlapping windows.
        timeout: Seconds for one request.
    """

    kind: Literal["wordllama", "minilm", "openai", "hashing"] = "wordllama"
    model: str | None = None
    base_url: str = "https://api.openai.com/v1"
    api_key: str | None = field(default=None, repr=False)
    dimension: int | None = field(default=None, validator=validators.optional(validators.ge(1)))
    window_characters: int = field(default=8000, validator=validators.ge(500))
    timeout: float = field(default=60.0, validator=validators.gt(0))


@frozen
class IdentitySettings:
    """Who calls from this machine.

    Attributes:
        tenant: Tenant id; by default the shared corpus's.
        agent: Agent id; by default the name of the operating system's user.
        roles: Roles besides ``agent``.
    """

    tenant: str | None = None
    agent: str | None = None
    roles: tuple[Literal["agent", "curator", "operator"], ...] = ()


@frozen
class TenancySettings:
    """The shared namespace, see :class:`domain.tenancy.Tenancy`."""

    shared_tenant: str = "neo-shared"
    shared_repo: str = "neo"


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
class IngestSettings:
    """What happens to records that claim another owner, audience or instant than the server's.

    Attributes:
        spoof_mode: ``overwrite`` (replace the claim and log it) or ``reject`` (refuse all).
        spoof_threshold: Spoofed fields of one identity within the window past which all are
            rejected.
        spoof_window: Seconds for which a spoofed field counts.
    """

    spoof_mode: Literal["overwrite", "reject"] = "overwrite"
    spoof_threshold: int = field(default=100, validator=validators.ge(0))
    spoof_window: float = field(
        default=3600.0, validator=[validators.gt(0), validators.le(365 * 86_400)]
    )


@frozen
class Settings:
    """Everything that can be configured.

    Attributes:
        store: Where rows lie.
        embedder: What embeds texts.
        identity: Who calls.
        tenancy: The shared namespace.
        sync: How a synchronisation runs.
        ingest: What happens to forged records.
        use_default_sources: Whether the ten default sources are registered.
        use_default_parsers: Whether the three default parsers are registered.
        raw_repo_source: Whether every text file of the workspace becomes one chunk.
        workers: Processes that parse a large workspace; by default one a processor.
        source_paths: By source name, the path or paths that replace its default.
    """

    store: StoreSettings = field(factory=StoreSettings)
    embedder: EmbedderSettings = field(factory=EmbedderSettings)
    identity: IdentitySettings = field(factory=IdentitySettings)
    tenancy: TenancySettings = field(factory=TenancySettings)
    sync: SyncSettings = field(factory=SyncSettings)
    ingest: IngestSettings = field(factory=IngestSettings)
    use_default_sources: bool = True
    use_default_parsers: bool = True
    raw_repo_source: bool = False
    workers: int | None = field(default=None, validator=validators.optional(validators.ge(1)))
    source_paths: dict[str, Any] = field(factory=dict)


def load(environment: Mapping[str, str], folder: Path, file: Path | None = None) -> Settings:
    """The settings in force.

    Args:
        environment: Such as ``os.environ``.
        folder: Where ``tenantkb.toml`` is looked for.
        file: A configuration file that must exist, instead of the one in ``folder``.

    Raises:
        ConfigurationError: a file cannot be read, or names each bad setting with the reason.
    """
    if file is None and environment.get(_CONFIG_VARIABLE):
        file = Path(environment[_CONFIG_VARIABLE])
    values: dict[str, Any] = {}
    if file is not None or (folder / FILE_NAME).exists():
        values = _read(file or folder / FILE_NAME)
    for path, value in _variables(environment):
        section = values
        for key in path[:-1]:
            section = section.setdefault(key, {})
            if not isinstance(section, dict):
                raise ConfigurationError(f"{'.'.join(path[:-1])}: expected a table")
        section[path[-1]] = value
    try:
        return _converter().structure(values, Settings)
    except ClassValidationError as error:
        problems = "\n".join(f"  {problem}" for problem in _problems(error, Settings))
        raise ConfigurationError(f"the configuration is not valid:\n{problems}") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {file}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file} is not valid TOML: {error}") from error
    store = values.get("store")
    if isinstance(store, dict) and isinstance(store.get("path"), str):
        store["path"] = str(file.parent / Path(store["path"]).expanduser())
    return values


def _leaves(cls: type, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every setting that a variable can set, with its type."""
    hints = typing.get_type_hints(cls)
    for attribute in attrs.fields(cls):
        kind = hints[attribute.name]
        if attrs.has(kind):
            yield from _leaves(kind, (*path, attribute.name))
        elif typing.get_origin(kind) is not dict:
            yield (*path, attribute.name), kind


def _variable(path: tuple[str, ...]) -> str:
    named = path[1:] if path[0] == "identity" else path
    return _PREFIX + "_".join(named).upper()


def _variables(environment: Mapping[str, str]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The settings that the environment gives, as TOML would give them."""
    known = {_variable(path): (path, kind) for path, kind in _leaves(Settings)}
    for name, text in environment.items():
        if not name.startswith(_PREFIX) or name == _CONFIG_VARIABLE:
            continue
        if name not in known:
            raise ConfigurationError(
                f"{name}: there is no such variable{_nearest(name, [*known, _CONFIG_VARIABLE])}"
            )
        path, kind = known[name]
        yield path, _parsed(name, text, kind)


def _parsed(name: str, text: str, kind: Any) -> Any:
    kinds = typing.get_args(kind) if typing.get_origin(kind) is types.UnionType else (kind,)
    if typing.get_origin(kind) is tuple:
        return [item.strip() for item in text.split(",") if item.strip()]
    if bool in kinds:
        words = {"true": True, "1": True, "false": False, "0": False}
        if text.lower() not in words:
            raise ConfigurationError(f"{name}: expected true or false, not {text!r}")
        return words[text.lower()]
    for number in (int, float):
        if number in kinds:
            try:
                return number(text)
            except ValueError:
                raise ConfigurationError(f"{name}: expected a number, not {text!r}") from None
    return text


def _converter() -> cattrs.Converter:
    """A converter that coerces nothing: by itself, cattrs reads ``"no"`` as true, 5 as ``"5"``."""
    converter = cattrs.Converter(forbid_extra_keys=True)

    def strictly(kind: type[T], name: str) -> None:
        def check(value: Any, _: type[T]) -> T:
            if type(value) is not kind:
                raise TypeError(f"expected {name}, not {value!r}")
            return value

        converter.register_structure_hook(kind, check)

    strictly(str, "text")
    strictly(bool, "true or false")
    strictly(int, "a whole number")
    converter.register_structure_hook(float, _strict_float)
    converter.register_structure_hook(Path, _strict_path)
    converter.register_structure_hook_func(lambda kind: bool(_choices(kind)), _strict_literal)
    for cls in (
        StoreSettings,
        EmbedderSettings,
        IdentitySettings,
        TenancySettings,
        SyncSettings,
        IngestSettings,
        Settings,
    ):
        structure = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True)

        def table(value: Any, kind: Any, structure: Any = structure) -> Any:
            if not isinstance(value, dict):
                raise TypeError(f"expected a table, not {value!r}")
            return structure(value, kind)

        converter.register_structure_hook(cls, table)
    return converter


def _strict_float(value: Any, _: type[float]) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"expected a number, not {value!r}")
    return float(value)


def _choices(kind: Any) -> tuple[str, ...]:
    """What a ``Literal`` of strings allows; nothing for other types."""
    found = typing.get_args(kind)
    return found if all(isinstance(choice, str) for choice in found) else ()


def _strict_literal(value: Any, kind: Any) -> Any:
    choices = _choices(kind)
    if value not in choices or not isinstance(value, str):
        raise TypeError(f"expected one of {', '.join(choices)}, not {value!r}")
    return value


def _strict_path(value: Any, _: type[Path]) -> Path:
    if not isinstance(value, str) or not value:
        raise TypeError(f"expected a path, not {value!r}")
    return Path(value).expanduser()


def _problems(error: BaseException, cls: type | None, path: str = "") -> Iterator[str]:
    """One line a bad setting: its path, and what is wrong."""
    if isinstance(error, ClassValidationError):
        for inner, note in error.group_exceptions()[0]:
            inner_class = typing.get_type_hints(cls).get(note.name) if cls else None
            yield from _problems(inner, inner_class, f"{path}.{note.name}".lstrip("."))
        for inner in error.group_exceptions()[1]:
            yield from _problems(inner, cls, path)
    elif isinstance(error, IterableValidationError):
        for inner, place in error.group_exceptions()[0]:
            yield from _problems(inner, None, f"{path}[{place.index}]")
    elif isinstance(error, ForbiddenExtraKeysError):
        valid = [attribute.name for attribute in attrs.fields(error.cl)]
        for name in sorted(error.extra_fields):
            yield f"{path}.{name}".lstrip(".") + f": there is no such key{_nearest(name, valid)}"
    else:
        reason = str(error.args[0]) if error.args else str(error)
        yield f"{path}: {reason}" if path else reason


def _nearest(name: str, valid: list[str]) -> str:
    close = get_close_matches(name, valid, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(sorted(valid))}"
