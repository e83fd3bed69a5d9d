"""The contracts that clients bind to: JSON Schemas (draft 2020-12), and how records are judged.

A schema never changes: what is to change becomes a new version beside it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from tenantkb.domain import fields
from tenantkb.domain.errors import InvalidInputError
from tenantkb.domain.paths import require_repo_slug, require_source_path
from tenantkb.domain.records import RecordProblem, pointer, shown
from tenantkb.domain.stamps import parse_instant

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
    if name == _BACKUP_RECORD and _is_backup_record(record):
        return []
    found = {
        place: reason
        for error in _validator(name).iter_errors(record)
        for place, reason in _places(error)
    }
    if name in _BEYOND and isinstance(record, Mapping):
        for place, reason in _BEYOND[name](record):
            found.setdefault(place, reason)
    return [RecordProblem(line, place, reason) for place, reason in sorted(found.items())]


@cache
def _validator(name: str) -> Any:
    from jsonschema import Draft202012Validator, ValidationError  # what reads needs neither
    from jsonschema.validators import extend

    def pattern(
        validator: Any, expression: str, instance: object, _: Mapping[str, Any]
    ) -> Iterator[ValidationError]:
        """As ECMA-262 reads it; in Python, ``$`` also stands before a last line feed."""
        if validator.is_type(instance, "string") and not re.search(
            expression.replace("$", r"\Z"), str(instance)
        ):
            yield ValidationError(f"{instance!r} does not match")

    schema = json.loads(text(name))
    Draft202012Validator.check_schema(schema)
    judge = extend(  # type: ignore[no-untyped-call] # it has no annotations
        Draft202012Validator,
        {"pattern": pattern},
        type_checker=Draft202012Validator.TYPE_CHECKER.redefine("number", _is_number),
    )
    return judge(schema)


def _is_number(_: object, value: object) -> bool:
    """JSON has neither infinities nor NaN; Python reads ``1e999`` as one, and passes on others."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


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
    "maximum": lambda most: f"a number up to {most}",
    "minLength": lambda least: "text that is not empty" if least == 1 else f"{least} characters",
    "minItems": lambda least: "a list that is not empty" if least == 1 else f"{least} items",
    "minProperties": lambda least: "a field" if least == 1 else f"{least} fields",
    "maxProperties": lambda most: f"at most {most} fields",
    "uniqueItems": lambda _: "distinct items",
}


def _places(error: Any) -> Iterator[tuple[str, str]]:
    """The pointers of an error, each with what was expected there."""
    path = list(error.absolute_path)
    instance = error.instance
    if error.validator == "required":
        for key in error.validator_value:
            if key not in instance:
                yield pointer(*path, key), "expected, and missing"
    elif error.validator == "dependentRequired":
        for key, others in error.validator_value.items():
            for other in others if key in instance else ():
                if other not in instance:
                    yield pointer(*path, other), f"expected beside {key}, and missing"
    elif error.validator == "additionalProperties":
        known = error.schema["properties"]
        for key in instance:
            if key not in known:
                yield pointer(*path, key), "expected no field of this name"
    else:
        expected = _EXPECTED[error.validator](error.validator_value)
        yield pointer(*path), f"expected {expected}, not {shown(instance)}"


def _beyond_parsed_chunk(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    inputs = record.get("hashInputs")
    for index, key in enumerate(inputs if isinstance(inputs, list) else []):
        if isinstance(key, str) and key not in record:
            yield f"/hashInputs/{index}", f"expected the name of a present field, not {shown(key)}"
    first, last = record.get("line_start"), record.get("line_end")
    if isinstance(first, int | float) and isinstance(last, int | float) and first > last:
        yield "/line_end", f"expected a line from {shown(first)}, not {shown(last)}"
    if fields.SOURCE_PATH in record:
        yield from _refused(
            f"/{fields.SOURCE_PATH}", record[fields.SOURCE_PATH], require_source_path
        )


def _beyond_path_identity(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if fields.REPO_SLUG in record:
        yield from _refused(f"/{fields.REPO_SLUG}", record[fields.REPO_SLUG], require_repo_slug)
    if fields.SOURCE_PATH in record:
        yield from _refused(
            f"/{fields.SOURCE_PATH}", record[fields.SOURCE_PATH], require_source_path
        )


def _beyond_deletion_signals(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    tombstones, manifest = record.get("deleted"), record.get("manifestSnapshot")
    for index, item in enumerate(tombstones if isinstance(tombstones, list) else []):
        if isinstance(item, Mapping):
            for pointer, reason in _beyond_path_identity(item):
                yield f"/deleted/{index}{pointer}", reason
    if isinstance(manifest, Mapping):
        for pointer, reason in _beyond_path_identity(manifest):
            yield f"/manifestSnapshot{pointer}", reason
        if "createdAt" in manifest:
            place = "/manifestSnapshot/createdAt"
            yield from _refused(place, manifest["createdAt"], parse_instant)
        paths = manifest.get("pathsAfterPush")
        for index, path in enumerate(paths if isinstance(paths, list) else []):
            place = f"/manifestSnapshot/pathsAfterPush/{index}"
            yield from _refused(place, path, require_source_path)


def _beyond_file(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "path" in record:
        yield from _refused("/path", record["path"], require_source_path)


_FORMS: Final[Mapping[Callable[[object], object], str]] = {
    require_source_path: "a relative path",
    require_repo_slug: "printable text without white space",
    parse_instant: "an instant such as 2026-01-31T09:30:00.000Z",
}


def _refused(
    pointer: str, value: object, require: Callable[[object], object]
) -> Iterator[tuple[str, str]]:
    """The place of a value that the domain refuses."""
    try:
        require(value)
    except InvalidInputError:
        yield pointer, f"expected {_FORMS[require]}, not {shown(value)}"


_BEYOND: Final = {
    "parsed-chunk-v1": _beyond_parsed_chunk,
    "path-identity-v1": _beyond_path_identity,
    "deletion-signals-v1": _beyond_deletion_signals,
    "ingest-file-v1": _beyond_file,
    "ingest-push-v1": _beyond_path_identity,
}

_BACKUP_RECORD: Final = "backup-record-v1"
_LARGEST_SINGLE: Final = 3.4028235e38


def _is_backup_record(record: object) -> bool:
    """Whether the validator would find nothing: by far faster, for embeddings are long."""
    if not isinstance(record, dict) or record.keys() != {"id", "embedding", "metadata", "document"}:
        return False
    embedding, document = record["embedding"], record["document"]
    return (
        isinstance(record["id"], str)
        and record["id"] != ""
        and isinstance(embedding, list)
        and embedding != []
        and {int, float}.issuperset(map(type, embedding))
        and all(-_LARGEST_SINGLE <= number <= _LARGEST_SINGLE for number in embedding)
        and isinstance(record["metadata"], dict)
        and (document is None or isinstance(document, str))
    )
