"""Where settings come from: defaults, one TOML file, the environment.

Later ones win: defaults, then the file (``--config FILE``, or in the current folder
``tenantkb.toml`` or the table ``[tool.tenantkb]`` of ``pyproject.toml``), then ``TENANTKB_*``
variables. A variable is named after the key it sets: ``[store] path`` is ``TENANTKB_STORE_PATH``;
``TENANTKB_TENANT``, ``_AGENT``, ``_ROLES`` and ``_TOKEN`` are the identity's. Keys that do not
exist and values of
the wrong type are errors: a misspelt setting that is ignored is found too late.

A workspace that is synchronised by its path has no say: whoever may write to a repository must not
decide which store is opened, as whom, and what code is run.
"""

from __future__ import annotations

import tomllib
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
import cattrs
from attrs import frozen
from cattrs.cols import homogenous_tuple_structure_factory
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError
from cattrs.gen import make_dict_structure_fn, mapping_structure_factory

from tenantkb.adapters.configuration.settings import FactorySettings, Settings, WorkspaceSettings
from tenantkb.domain.errors import ConfigurationError

FILE_NAME: Final = "tenantkb.toml"
PYPROJECT: Final = "pyproject.toml"
DEFAULT: Final = "default"
"""The origin of a setting that nobody has set."""

_PREFIX: Final = "TENANTKB_"
_CONFIG_VARIABLE: Final = "TENANTKB_CONFIG"
_SHORT: Final = {("identity", name) for name in ("tenant", "agent", "roles", "token")}
_HIDDEN: Final = "***"
T = TypeVar("T")
Key = tuple[str | int, ...]
StructureHook = Callable[[Any, Any], Any]


@frozen
class Setting:
    """A setting in force.

    Attributes:
        key: Such as ``store.path`` or ``repositories[0].repo``.
        value: What a file would say; of a secret, only that there is one.
        origin: A file, a variable, or :data:`DEFAULT`.
    """

    key: str
    value: Any
    origin: str


def load(environment: Mapping[str, str], folder: Path, file: Path | None = None) -> Settings:
    """The settings in force.

    Args:
        environment: Such as ``os.environ``.
        folder: Where a file is looked for, by its two names.
        file: A configuration file that must exist, instead of the one in ``folder``.

    Raises:
        ConfigurationError: a file cannot be read, or names each bad setting with the reason.
    """
    return _load(environment, folder, file)[0]


def explain(
    environment: Mapping[str, str], folder: Path, file: Path | None = None
) -> Iterator[Setting]:
    """Every setting in force and where it comes from; like :func:`load`."""
    settings, origins = _load(environment, folder, file)
    for key, value in _in_force(settings):
        yield Setting(_shown(key), value, origins.get(key, DEFAULT))


def configuration_file(
    environment: Mapping[str, str], folder: Path, file: Path | None = None
) -> Path | None:
    """The file that settings are read from, if there is one.

    Raises:
        ConfigurationError: ``folder`` has two.
    """
    if file is None and environment.get(_CONFIG_VARIABLE):
        file = Path(environment[_CONFIG_VARIABLE])
    if file is not None:
        return file
    found = [folder / FILE_NAME] if (folder / FILE_NAME).exists() else []
    if (folder / PYPROJECT).exists() and _table(folder / PYPROJECT) is not None:
        found.append(folder / PYPROJECT)
    if len(found) > 1:
        raise ConfigurationError(
            f"{folder} has settings in {FILE_NAME} and in {PYPROJECT}: keep one of them"
        )
    return found[0] if found else None


def _load(
    environment: Mapping[str, str], folder: Path, file: Path | None
) -> tuple[Settings, dict[Key, str]]:
    values: dict[str, Any] = {}
    origins: dict[Key, str] = {}
    file = configuration_file(environment, folder, file)
    if file is not None:
        table = _table(file)
        if table is None:
            raise ConfigurationError(f"{file} has no table [tool.tenantkb]")
        values = _absolute(table, Settings, file.parent)
        origins.update((key, str(file)) for key in _keys(values))
    for path, value, variable in _variables(environment):
        section = values
        for name in path[:-1]:
            section = section.setdefault(name, {})
            if not isinstance(section, dict):
                raise ConfigurationError(f"{'.'.join(path[:-1])}: expected a table")
        section[path[-1]] = value
        origins[path] = variable
    _inherit(values, origins)
    try:
        return _converter().structure(values, Settings), origins
    except ClassValidationError as error:
        problems = "\n".join(f"  {problem}" for problem in _problems(error))
        places = ", ".join(dict.fromkeys(origins.values()))
        raise ConfigurationError(
            f"the configuration ({places}) is not valid:\n{problems}"
        ) from error


def _table(file: Path) -> dict[str, Any] | None:
    """The settings in a file; ``None`` for a ``pyproject.toml`` without any."""
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {file}: {error}") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{file} is not valid TOML: {error}") from error
    if file.name != PYPROJECT:
        return values
    tool = values.get("tool")
    table = tool.get("tenantkb") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise ConfigurationError(f"{file}: tool.tenantkb: expected a table")
    return table


def _absolute(values: dict[str, Any], cls: type, folder: Path) -> dict[str, Any]:
    """``values`` with every path made one below ``folder``; what has a wrong type stays."""
    hints = typing.get_type_hints(cls)

    def located(value: Any, kind: Any) -> Any:
        kinds = typing.get_args(kind)
        if isinstance(value, str) and value and (kind is Path or kind == Path | None):
            return str(folder / Path(value).expanduser())
        if isinstance(value, list) and typing.get_origin(kind) is tuple:
            return [located(item, kinds[0]) for item in value]
        if isinstance(value, dict) and attrs.has(kind):
            return _absolute(value, kind, folder)
        return value

    return {name: located(value, hints.get(name)) for name, value in values.items()}


def _inherit(values: dict[str, Any], origins: dict[Key, str]) -> None:
    """Give every repository what the top level says of workspaces and the repository does not."""
    repositories = values.get("repositories")
    shared = [
        attribute.name for attribute in attrs.fields(WorkspaceSettings) if attribute.name in values
    ]
    for index, entry in enumerate(repositories if isinstance(repositories, list) else []):
        for name in shared if isinstance(entry, dict) else ():
            if name not in entry:
                entry[name] = values[name]
                origins["repositories", index, name] = origins[name,]


def _keys(value: Any, key: Key = ()) -> Iterator[Key]:
    """Every place within tables and lists."""
    if key:
        yield key
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _keys(inner, (*key, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _keys(inner, (*key, index))


def _in_force(value: Any, key: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every setting with its value as a file would say it."""
    if attrs.has(type(value)):
        for attribute in attrs.fields(type(value)):
            inner = getattr(value, attribute.name)
            if not attribute.repr and inner:
                inner = _HIDDEN
            yield from _in_force(inner, (*key, attribute.name))
    elif isinstance(value, tuple) and value and attrs.has(type(value[0])):
        for index, inner in enumerate(value):
            yield from _in_force(inner, (*key, index))
    else:
        yield key, _plain(value)


def _plain(value: Any) -> Any:
    """A value as a file would say it."""
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if attrs.has(type(value)):
        return attrs.asdict(value)
    return value if isinstance(value, str | bool | int | float | None) else str(value)


def _shown(key: Key) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)[1:]


def _leaves(cls: type, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every setting that a variable can set, with its type."""
    hints = typing.get_type_hints(cls)
    for attribute in attrs.fields(cls):
        kind = hints[attribute.name]
        if attrs.has(kind):
            yield from _leaves(kind, (*path, attribute.name))
        elif typing.get_origin(kind) is not dict and not any(map(attrs.has, typing.get_args(kind))):
            yield (*path, attribute.name), kind


def _variable(path: tuple[str, ...]) -> str:
    return _PREFIX + "_".join(path[1:] if path in _SHORT else path).upper()


def _variables(environment: Mapping[str, str]) -> Iterator[tuple[tuple[str, ...], Any, str]]:
    """The settings that the environment gives, as TOML would give them, each with its variable."""
    known = {_variable(path): (path, kind) for path, kind in _leaves(Settings)}
    for name, text in environment.items():
        if not name.startswith(_PREFIX) or name == _CONFIG_VARIABLE:
            continue
        if name not in known:
            raise ConfigurationError(
                f"{name}: there is no such variable{_nearest(name, [*known, _CONFIG_VARIABLE])}"
            )
        path, kind = known[name]
        yield path, _parsed(name, text, kind), name


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

    def table(cls: Any) -> StructureHook:
        structure = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True)
        return _only(dict, "a table", structure)

    strictly(str, "text")
    strictly(bool, "true or false")
    strictly(int, "a whole number")
    converter.register_structure_hook(float, _strict_float)
    converter.register_structure_hook(Path, _strict_path)
    converter.register_structure_hook_func(lambda kind: bool(_choices(kind)), _strict_literal)
    converter.register_structure_hook_factory(
        _is_table,
        lambda kind: _only(dict, "a table", mapping_structure_factory(kind, converter)),
    )
    converter.register_structure_hook_factory(
        _is_list,
        lambda kind: _only(list, "a list", homogenous_tuple_structure_factory(kind, converter)),
    )
    converter.register_structure_hook_factory(attrs.has, table)
    own_table = table(FactorySettings)  # it takes the hooks for its fields that there are by now

    def own(value: Any, kind: Any) -> Any:
        return FactorySettings(value) if isinstance(value, str) else own_table(value, kind)

    converter.register_structure_hook(FactorySettings, own)
    return converter


def _is_table(kind: Any) -> bool:
    return typing.get_origin(kind) is dict


def _is_list(kind: Any) -> bool:
    return typing.get_origin(kind) is tuple


def _only(kind: type, name: str, structure: StructureHook) -> StructureHook:
    """A hook that takes values of one type; by itself, cattrs makes a list of a text's letters."""

    def check(value: Any, wanted: Any) -> Any:
        if not isinstance(value, kind):
            raise TypeError(f"expected {name}, not {value!r}")
        return structure(value, wanted)

    return check


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


def _problems(error: BaseException, path: str = "") -> Iterator[str]:
    """One line a bad setting: its path, and what is wrong."""
    if isinstance(error, ClassValidationError):
        for inner, attribute in error.group_exceptions()[0]:
            yield from _problems(inner, f"{path}.{attribute.name}".lstrip("."))
        for inner in error.group_exceptions()[1]:
            yield from _problems(inner, path)
    elif isinstance(error, IterableValidationError):
        for inner, place in error.group_exceptions()[0]:
            by_name = isinstance(place.index, str)
            yield from _problems(
                inner, path + (f".{place.index}" if by_name else f"[{place.index}]")
            )
    elif isinstance(error, ForbiddenExtraKeysError):
        valid = [attribute.name for attribute in attrs.fields(error.cl)]
        for name in sorted(error.extra_fields):
            yield f"{path}.{name}".lstrip(".") + f": there is no such key{_nearest(name, valid)}"
    elif isinstance(error, KeyError):
        yield f"{path}: expected, and missing"
    else:
        reason = str(error.args[0]) if error.args else str(error)
        yield f"{path}: {reason}" if path else reason


def _nearest(name: str, valid: list[str]) -> str:
    close = get_close_matches(name, valid, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(sorted(valid))}"
