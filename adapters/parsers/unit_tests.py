"""Playwright test files: a header and one chunk for each test."""

from __future__ import annotations

from typing import Any, ClassVar

from tree_sitter import Node

from tenantkb.adapters.parsers.javascript import Module, children, unwrap
from tenantkb.adapters.parsers.js_text import trim
from tenantkb.ports.extraction import ChunkRecord

_MODIFIERS = {"only", "skip", "fixme"}
_FUNCTIONS = {"arrow_function", "function_expression", "generator_function"}


class TestParser:
    """Cuts a test file into the text before its first test and its tests."""

    __test__: ClassVar[bool] = False
    """Keeps pytest from collecting this class for its name."""

    def parse(self, content: str, path: str, **hints: Any) -> list[ChunkRecord]:
        """Cut one test file into chunks without ``hash``.

        Tests are calls of ``test``, ``test.only``, ``test.skip`` and ``test.fixme``. They are
        looked for in blocks, loops and function declarations and in the functions that other
        calls are given (``test.describe``, ``test.beforeEach``), but not inside tests, nor
        through ``if``, ``try``, initialisers or ``await``.

        Args:
            content: The decoded text.
            path: Path relative to the workspace, forward slashes.
            hints: Ignored.

        Returns:
            Nothing for a file without tests.

        Raises:
            UnparsableFileError: the text is no valid module of ECMAScript 2022; a ``#!`` line and
                import attributes are newer than that. A source that keeps files without tests as
                one chunk should keep this one, too.
        """
        module = Module(content, "2022")
        tests = sorted(_find_tests(module), key=lambda node: node.start_byte)
        if not tests:
            return []
        chunks: list[ChunkRecord] = []
        if header := trim(module.slice(0, tests[0].start_byte)):
            chunks.append(
                {
                    "type": "test",
                    "kind": "test-header",
                    "name": f"{path} - [Context]",
                    "content": header,
                    "source": path,
                }
            )
        chunks.extend(
            {
                "type": "test",
                "kind": "test-case",
                "name": f"{path} - {_title(module, node)}",
                "content": module.text(node),
                "source": path,
                "line_start": module.line(node.start_byte),
                "line_end": module.line(node.end_byte),
            }
            for node in tests
        )
        return chunks


def _title(module: Module, call: Node) -> str:
    arguments = _arguments(call)
    literal = module.literal(arguments[0]) if arguments else None
    return "Unknown Test" if literal is None else literal.text


def _find_tests(module: Module) -> list[Node]:
    tests: list[Node] = []
    pending: list[Node | None] = [module.root]
    while pending:
        node = unwrap(pending.pop())
        if node is None:
            continue
        match node.type:
            case "program" | "statement_block" | "class_body":
                pending.extend(children(node))
            case "expression_statement":
                pending.append(next(children(node), None))
            case "call_expression":
                if not _is_plain_call(module, node):
                    continue
                if _is_test(module, node.child_by_field_name("function")):
                    tests.append(node)
                    continue
                for argument in _arguments(node):
                    function = unwrap(argument)
                    if function is not None and function.type in _FUNCTIONS:
                        pending.append(function.child_by_field_name("body"))
            case "try_statement" | "switch_statement" | "method_definition" | "field_definition":
                pass
            case _:
                pending.append(node.child_by_field_name("body"))
    return tests


def _arguments(call: Node) -> list[Node]:
    arguments = call.child_by_field_name("arguments")
    return [] if arguments is None else list(children(arguments))


def _is_plain_call(module: Module, call: Node) -> bool:
    """Whether this is none of: tagged template, ``import()``, part of an optional chain, ``await``.

    The grammar takes ``await (…)`` for a call in some places.
    """
    arguments = call.child_by_field_name("arguments")
    link = call.child_by_field_name("function")
    if arguments is None or arguments.type != "arguments" or link is None or link.type == "import":
        return False
    node: Node | None = call
    while node is not None and node.type in {
        "call_expression",
        "member_expression",
        "subscript_expression",
    }:
        if node.child_by_field_name("optional_chain") is not None:
            return False
        node = node.child_by_field_name("function" if node.type == "call_expression" else "object")
    return module.name(node) != "await"


def _is_test(module: Module, callee: Node | None) -> bool:
    callee = unwrap(callee)
    if callee is None:
        return False
    if callee.type in {"member_expression", "subscript_expression"}:
        key = callee.child_by_field_name(
            "property" if callee.type == "member_expression" else "index"
        )
        return (
            callee.child_by_field_name("optional_chain") is None
            and module.name(callee.child_by_field_name("object")) == "test"
            and module.name(key) in _MODIFIERS
        )
    return module.name(callee) == "test"
