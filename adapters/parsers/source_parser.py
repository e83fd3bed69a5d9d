"""ECMAScript source files: module context, class fields, static config and methods."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import define, field
from tree_sitter import Node

from tenantkb.adapters.parsers.javascript import (
    NO_JSON,
    Module,
    children,
    statement_end,
    unwrap,
)
from tenantkb.adapters.parsers.js_text import trim
from tenantkb.domain.errors import UnparsableFileError
from tenantkb.ports.extraction import ChunkRecord

# A first line that ends in a carriage return is left for the grammar, which takes it as a comment.
_INTERPRETER_LINE = re.compile("^#![^\n\r\u2028\u2029]*\n")

_CONTEXT = {"import_statement", "lexical_declaration", "using_declaration", "variable_declaration"}
_CLASSES = {"class", "class_declaration"}


@define
class _Class:
    """The top-level classes of a module, merged: members add up, the last one gives the rest."""

    name: Any = ""
    node: Node | None = None
    config: Node | None = None
    fields: list[Node] = field(factory=list)
    methods: list[Node] = field(factory=list)


class SourceParser:
    """Cuts a module into its context, the fields of its class, their config and its methods."""

    def parse(
        self,
        content: str,
        path: str,
        *,
        type: str = "src",  # noqa: A002 -- the name of the hint
        hierarchy: Mapping[str, str] | None = None,
        **hints: Any,
    ) -> list[ChunkRecord]:
        """Cut one module into chunks without ``hash``.

        A class is a top-level class declaration, bare or ``export default``. One that stands at the
        very start of the text counts as none for the module context; the JavaScript system did so.

        Args:
            content: The decoded text. A ``#!`` line is removed first, so lines count behind it.
            path: Path relative to the workspace, forward slashes.
            type: Value of the chunks' ``type``.
            hierarchy: ``{className: parentClassName}``, gives ``extends``.
            hints: Ignored.

        Raises:
            UnparsableFileError: the text is no valid module, or its ``static config`` does not say
                what ``className`` is: it has no value, spreads another object first, or gives a
                value without a JSON form.
        """
        module = Module(_INTERPRETER_LINE.sub("", content, count=1), "latest")
        context: list[Node] = []
        merged = _Class()
        for statement in children(module.root):
            if statement.type in _CONTEXT:
                context.append(statement)
            elif (declaration := _declared_class(statement)) is not None:
                _merge(module, declaration, merged)

        extends = (hierarchy or {}).get(str(merged.name)) if merged.name else None
        chunks: list[ChunkRecord] = []

        def add(kind: str, title: str, text: str, first_line: int, last_line: int) -> None:
            chunks.append(
                {
                    "type": type,
                    "kind": kind,
                    "name": f"{path} - {title}",
                    "content": text,
                    "source": path,
                    "line_start": first_line,
                    "line_end": last_line,
                    "className": merged.name,
                    "extends": extends or "",
                }
            )

        if text := _context_text(module, context, merged.node):
            add("module-context", "[Module Context]", text, 1, module.line_count)
        if merged.fields:
            spans = [(node.start_byte, module.field_end(node)) for node in merged.fields]
            text = "\n\n".join(module.slice(start, end) for start, end in spans)
            first_line, last_line = module.line(spans[0][0]), module.line(spans[-1][1])
            add("class-properties", "[Class Properties]", text, first_line, last_line)
        if merged.config is not None:
            start, end = merged.config.start_byte, module.field_end(merged.config)
            text = module.slice(start, end)
            add("class-config", "[Config]", text, module.line(start), module.line(end))
        for node in merged.methods:
            name = module.name(node.child_by_field_name("name")) or "[computed]"
            first_line, last_line = module.line(node.start_byte), module.line(node.end_byte)
            add("method", f"{name}()", module.text(node), first_line, last_line)
        return chunks


def _declared_class(statement: Node) -> Node | None:
    if statement.type == "class_declaration":
        return statement
    if statement.type == "export_statement" and any(
        child.type == "default" for child in statement.children
    ):
        return next((child for child in children(statement) if child.type in _CLASSES), None)
    return None


def _merge(module: Module, declaration: Node, merged: _Class) -> None:
    merged.node = declaration
    if (identifier := declaration.child_by_field_name("name")) is not None:
        merged.name = module.name(identifier)
    for member in children(_body(declaration)):
        if member.type == "method_definition":
            merged.methods.append(member)
        elif member.type == "field_definition":
            key = module.name(member.child_by_field_name("property"))
            if key == "config" and member.children[0].type == "static":
                merged.config = member
                _read_class_name(module, member, merged)
            else:
                merged.fields.append(member)


def _read_class_name(module: Module, config: Node, merged: _Class) -> None:
    """Let the literal ``className`` of a static config, where there is one, replace the name."""
    value = unwrap(config.child_by_field_name("value"))
    if value is None:
        raise _unreadable(module, config, "static config has no value")
    if value.type != "object":
        return
    for entry in children(value):
        if entry.type == "spread_element":
            raise _unreadable(module, entry, "static config is spread before its className")
        if module.name(_key(entry)) == "className":
            if (literal := module.literal(entry.child_by_field_name("value"))) is not None:
                if literal.value is NO_JSON:
                    raise _unreadable(module, entry, "className has no JSON form")
                merged.name = literal.value
            return


def _unreadable(module: Module, node: Node, reason: str) -> UnparsableFileError:
    return UnparsableFileError(f"line {module.line(node.start_byte)}: {reason}")


def _key(entry: Node) -> Node | None:
    match entry.type:
        case "pair":
            return entry.child_by_field_name("key")
        case "method_definition":
            return entry.child_by_field_name("name")
        case _:
            return entry


def _context_text(module: Module, context: list[Node], declaration: Node | None) -> str:
    if declaration is not None and declaration.start_byte > 0:
        head = module.slice(declaration.start_byte, _body(declaration).start_byte + 1)
        before = trim(module.slice(0, declaration.start_byte))
        return f"{before}\n\n{head}" if before else head
    return trim(module.slice(0, statement_end(context[-1]))) if context else ""


def _body(declaration: Node) -> Node:
    body = declaration.child_by_field_name("body")
    assert body is not None, "the grammar gives every class a body"  # noqa: S101 -- narrows a type
    return body
