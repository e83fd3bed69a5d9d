"""The contracts that clients bind to: JSON Schemas (draft 2020-12), and how records are judged.

A schema never changes: what is to change becomes a new version beside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from domain.errors import InvalidInputError
from domain.paths import require_source_path
from domain.records import RecordProblem, shown

_SUFFIX: Final = ".schema.json"


def names() -> list[str]:
    """The names of all schemas, such as ``parsed-chunk-v1``, sorted."""
    found = (file.name for file in files(__name__).iterdir())
    return sorted(name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX))


def text(name: str) -> str:
    """A schema as it is published.

    Raises:
        InvalidInputError: there is no schema of this name.
    """
    if name not in names():
        raise InvalidInputError(f"there is no schema {shown(name)}; there are {', '.join(names())}")
    return files(__name__).joinpath(name + _SUFFIX).read_text(encoding="utf-8")


def problems(name: str, line: int, record: object) -> list[RecordProblem]:
    """Everything that is wrong with a record, by pointer; empty for a valid one.

    Args:
        name: The schema; the contract's rules that no schema can express are checked as well.
        line: Number of the record in its submission.
        record: A JSON value.
    """
    found = {
        pointer: reason
        for error in _validator(name).iter_errors(record)
        for pointer, reason in _places(error)
    }
    if name in _BEYOND and isinstance(record, Mapping):
        for pointer, reason in _BEYOND[name](record):
            found.setdefault(pointer, reason)
    return [RecordProblem(line, pointer, reason) for pointer, reason in sorted(found.items())]


@cache
def _validator(name: str) -> Any:
    schema = json.loads(text(name))
    Draft202012Validator.check_schema(schema)
    return _Validator(schema)


def _pattern(
    validator: Any, pattern: str, instance: object, _: Mapping[str, Any]
) -> Iterator[ValidationError]:
    """``pattern`` as ECMA-262 reads it; in Python, ``$`` also stands before a last line feed."""
    if validator.is_type(instance, "string") and not re.search(
        pattern.replace("$", r"\Z"), str(instance)
    ):
        yield ValidationError(f"{instance!r} does not match")


_Validator: Final = extend(  # type: ignore[no-untyped-call] # it has no annotations
    Draft202012Validator, {"pattern": _pattern}
)

_TYPES: Final = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "object": "an object",
    "array": "a list",
    "null": "null",
}

_EXPECTED: Final[Mapping[str, Callable[[Any], str]]] = {
    "type": lambda kinds: " or ".join(
        _TYPES[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds)
    ),
    "const": json.dumps,
    "enum": lambda values: "one of " + ", ".join(json.dumps(value) for value in values),
    "pattern": lambda pattern: f"text that matches {pattern}",
    "minimum": lambda least: f"a number from {least}",
    "minLength": lambda least: "text that is not empty" if least == 1 else f"{least} characters",
    "minItems": lambda least: "a list that is not empty" if least == 1 else f"{least} items",
    "uniqueItems": lambda _: "distinct items",
}


def _places(error: Any) -> Iterator[tuple[str, str]]:
    """The pointers of an error, each with what was expected there."""
    path = list(error.absolute_path)
    instance = error.instance
    if error.validator == "required":
        for key in error.validator_value:
            if key not in instance:
                yield _pointer([*path, key]), "expected, and missing"
    elif error.validator == "additionalProperties":
        known = error.schema["properties"]
        for key in instance:
            if key not in known:
                yield _pointer([*path, key]), "expected no field of this name"
    else:
        expected = _EXPECTED[error.validator](error.validator_value)
        yield _pointer(path), f"expected {expected}, not {shown(instance)}"


def _pointer(path: Iterable[str | int]) -> str:
    """RFC 6901; a name that a client made up is shortened and made printable."""
    tokens = (shown(str(part))[1:-1] for part in path)
    return "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in tokens)


def _beyond_parsed_chunk(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    inputs = record.get("hashInputs")
    for index, key in enumerate(inputs if isinstance(inputs, list) else []):
        if isinstance(key, str) and key not in record:
            yield f"/hashInputs/{index}", f"expected the name of a present field, not {shown(key)}"
    first, last = record.get("line_start"), record.get("line_end")
    if isinstance(first, int | float) and isinstance(last, int | float) and first > last:
        yield "/line_end", f"expected a line from {shown(first)}, not {shown(last)}"
    if "sourcePath" in record:
        try:
            require_source_path(record["sourcePath"])
        except InvalidInputError:
            yield "/sourcePath", f"expected a relative path, not {shown(record['sourcePath'])}"


_BEYOND: Final = {"parsed-chunk-v1": _beyond_parsed_chunk}
