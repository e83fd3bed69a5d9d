"""What makes a text with a well-formed syntax tree no ECMAScript module: early errors.

tree-sitter's grammar accepts more than the standard does. This module finds what the standard
forbids in one query over the tree, run in C, and one pass in source order over what it matched:
nodes are looked at only where a rule may apply.

Checked are: syntax errors and what the grammar knows beyond the standard (JSX, decorators,
HTML-like comments); redeclared names; duplicate, missing and nested exports; private names;
duplicate or malformed constructors and accessors; ``return``, ``break``, ``continue``, ``await``,
``yield``, ``super``, ``new.target`` and ``arguments`` where they may not stand; labels; reserved
words; strict mode (``with``, ``delete name``, octal literals and escapes, duplicate parameters,
assignment to ``eval`` or ``arguments``); declarations that stand as a lone statement; ``const``
without value; invalid assignment targets; ``??`` mixed with ``||``; duplicate ``__proto__``; flags
and structure of regular expressions; syntax newer than the edition asked for.

Knowingly not checked:

- details inside regular expressions: ranges, escapes, property names, back references;
- "use strict" in a function with default parameters; a line break before ``=>`` or behind
  ``throw``; import attributes that occur twice; ``[eval] = a``; a statement that begins like a
  block and goes on like an object literal; ``super()`` in an object's method named constructor;
- zero with a digit behind it as an escape; a pattern that rests in braces, ``{...{a}}``; a line
  break between ``async`` and its parameters; ``for (async of [])``.

Valid, but refused by the grammar: ``export * from "m" with {...}``; a class field without value
before a computed member or a generator on the next line; ``await`` in the computed key of an async
method; no line break between ``export default function () {}`` and what follows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import Final, Literal

from attrs import define, field, frozen
from tree_sitter import Language, Node, Query, QueryCursor

from tenantkb.adapters.parsers.js_text import WHITE_SPACE

Edition = Literal["2022", "latest"]
"""An edition of ECMAScript; ``latest`` has import attributes and ``using``, for example."""


@frozen
class EarlyError:
    """Why a text is no module, and at which byte of it."""

    offset: int
    reason: str


# Start and negated end of a node, the number of a rule, the node: in the order of the pass.
_Event = tuple[int, int, int, Node]


class _InvalidError(Exception):
    def __init__(self, node: Node, reason: str) -> None:
        super().__init__(reason)
        self.error = EarlyError(node.start_byte, reason)


_KEYWORDS: Final = (
    *(
        "break",
        "case",
        "catch",
        "class",
        "const",
        "continue",
        "debugger",
        "default",
        "delete",
        "do",
    ),
    *("else", "enum", "export", "extends", "false", "finally", "for", "function", "if", "import"),
    *("in", "instanceof", "new", "null", "return", "super", "switch", "this", "throw", "true"),
    *("try", "typeof", "var", "void", "while", "with"),
)
# Names in sloppy scripts, but not in strict mode or in a module.
_STRICT_KEYWORDS: Final = (
    *("await", "implements", "interface", "let", "package", "private", "protected", "public"),
    *("static", "yield"),
)


def _quoted(words: Iterable[str]) -> str:
    return " ".join(f'"{word}"' for word in words)


_STATEMENT_DECLARATIONS = (
    "[(lexical_declaration) (using_declaration) (class_declaration) (function_declaration)"
    " (generator_function_declaration) (import_statement) (export_statement)]"
)

# What no module may contain, whatever surrounds it.
_FORBIDDEN: Final = {
    "JSX": "[(jsx_element) (jsx_self_closing_element)] @x",
    "decorator": "(decorator) @x",
    "HTML-like comment": "(html_comment) @x",
    "with statement": "(with_statement) @x",
    "delete of a name or a private member": """
        (unary_expression operator: "delete" argument: [
            (identifier) (parenthesized_expression (identifier))
            (member_expression property: (private_property_identifier))]) @x""",
    "declaration as a lone statement": f"""
        [(if_statement consequence: {_STATEMENT_DECLARATIONS} @x)
         (else_clause {_STATEMENT_DECLARATIONS} @x)
         (for_statement body: {_STATEMENT_DECLARATIONS} @x)
         (for_in_statement body: {_STATEMENT_DECLARATIONS} @x)
         (while_statement body: {_STATEMENT_DECLARATIONS} @x)
         (do_statement body: {_STATEMENT_DECLARATIONS} @x)
         (labeled_statement body: {_STATEMENT_DECLARATIONS} @x)]""",
    "?? mixed with || or && without parentheses": """
        [(binary_expression left: (binary_expression operator: ["||" "&&"]) operator: "??")
         (binary_expression operator: "??" right: (binary_expression operator: ["||" "&&"]))
         (binary_expression left: (binary_expression operator: "??") operator: ["||" "&&"])
         (binary_expression operator: ["||" "&&"] right: (binary_expression operator: "??"))] @x""",
    "unary operator before **": """
        (binary_expression left: [(unary_expression) (await_expression)] operator: "**") @x""",
    "invalid assignment target": """
        [(update_expression argument: [
            (call_expression) (number) (string) (template_string) (this) (binary_expression)
            (new_expression) (object) (array) (meta_property) (function_expression)
            (unary_expression) (update_expression) (regex) (true) (false) (null)])
         (update_expression argument: (member_expression optional_chain: (_)))
         (assignment_expression left: (member_expression optional_chain: (_)))
         (assignment_expression left: (parenthesized_expression [
            (call_expression) (number) (string) (this) (binary_expression) (new_expression)
            (ternary_expression) (sequence_expression) (assignment_expression) (object) (array)]))
         (augmented_assignment_expression left: (member_expression optional_chain: (_)))] @x""",
    "optional chain in new or with a template": """
        [(new_expression constructor: (member_expression optional_chain: (_)))
         (call_expression function: (member_expression optional_chain: (_))
            arguments: (template_string))] @x""",
    "declaration without a value": """
        [(lexical_declaration kind: "const" (variable_declarator !value) @x)
         (using_declaration (variable_declarator !value) @x)
         (variable_declarator name: [(object_pattern) (array_pattern)] !value) @x]""",
    "comma behind a rest element": """
        [(formal_parameters (rest_pattern) ",") (array_pattern (rest_pattern) ",")
         (object_pattern (rest_pattern) ",")] @x""",
    "missing argument": """
        ([(arguments "(" . ",") (arguments "," . ",")] @x)
        ((call_expression function: (import) arguments: (arguments) @x)
         (#match? @x "^[(]\\s*[)]$"))""",
    "try without catch and finally": "(try_statement !handler !finalizer) @x",
    "for-in with an initial value": "(for_in_statement value: (_)) @x",
    "function or class without a name": """
        (expression_statement . [(function_expression) (generator_function) (class)] @x)""",
    "call of an arrow function without parentheses": """
        (call_expression function: (arrow_function)) @x""",
    "keyword as a name": f"""
        ((shorthand_property_identifier) @x (#any-of? @x {_quoted(_KEYWORDS)}))""",
    "private name outside a class": """
        [(pair key: (private_property_identifier) @x)
         (object (method_definition name: (private_property_identifier) @x))]""",
    "second default in a switch": "(switch_body (switch_default) (switch_default) @x)",
    "octal literal or misplaced separator": """
        ((number) @x (#match? @x "^0[0-9_]|__|_$|^0[xXoObB]_"))""",
    "octal escape": """
        ([(string (escape_sequence) @x)
          (expression_statement (template_string (escape_sequence) @x))
          (variable_declarator (template_string (escape_sequence) @x))
          (arguments (template_string (escape_sequence) @x))]
         (#match? @x "^.([1-9]|0[0-9])"))""",
}

_FORBIDDEN_IN_2022: Final = {
    "import attributes": """
        [(import_attribute) (call_expression function: (import) arguments: (arguments ","))] @x""",
    "#! line": "(hash_bang_line) @x",
    "using declaration": """[(using_declaration) (for_in_statement "using")] @x""",
}

# What the pass looks at: the name of a method of _Pass, and the nodes that it is called with. Of
# two nodes that begin and end together the one that stands earlier here comes first.
_RULES: Final = {
    "field": "(field_definition value: (_) @x)",
    "label": "(labeled_statement) @x",
    "function_declaration": "[(function_declaration) (generator_function_declaration)] @x",
    "function": "[(function_expression) (generator_function) (method_definition)] @x",
    "arrow": "(arrow_function) @x",
    "class_declaration": "(class_declaration) @x",
    "class": "(class) @x",
    "static_block": "(class_static_block) @x",
    "loop": "[(for_statement) (for_in_statement) (while_statement) (do_statement)] @x",
    "switch": "(switch_body) @x",
    "catch": "(catch_clause) @x",
    "block": "(statement_block) @x",
    "lexical": """
        [(lexical_declaration (variable_declarator name: (_) @x))
         (using_declaration (variable_declarator name: (_) @x))
         (for_in_statement kind: ["let" "const"] left: (_) @x)
         (for_in_statement "using" left: (_) @x)]""",
    "variable": """
        [(variable_declaration (variable_declarator name: (_) @x))
         (for_in_statement kind: "var" left: (_) @x)]""",
    "parameter": """
        [(formal_parameters [
            (identifier) (assignment_pattern) (rest_pattern) (object_pattern) (array_pattern)] @x)
         (arrow_function parameter: (identifier) @x)]""",
    "import": """
        [(import_clause (identifier) @x)
         (namespace_import (identifier) @x)
         (import_specifier) @x]""",
    "module_item": "[(import_statement) (export_statement)] @x",
    "return": "(return_statement) @x",
    "await": '[(await_expression) (for_in_statement "await")] @x',
    "yield": "(yield_expression) @x",
    "jump": "[(break_statement) (continue_statement)] @x",
    "super_call": "(call_expression function: (super)) @x",
    "super_member": """
        [(member_expression object: (super)) (subscript_expression object: (super))] @x""",
    "meta_property": "(meta_property) @x",
    "private_member": """
        [(field_definition property: (private_property_identifier))
         (method_definition name: (private_property_identifier))] @x""",
    "private_use": """
        [(member_expression property: (private_property_identifier) @x)
         (binary_expression left: (private_property_identifier) @x)]""",
    "constructor": """
        ((class_body [
            (method_definition name: [(property_identifier) (string)] @name)
            (field_definition property: [(property_identifier) (string)] @name)] @x)
         (#match? @name "^.?(constructor|prototype).?$"))""",
    "accessor": """(method_definition ["get" "set"]) @x""",
    "assigned": """
        ([(assignment_expression left: (identifier) @x)
          (augmented_assignment_expression left: (identifier) @x)
          (update_expression argument: (identifier) @x)]
         (#any-of? @x "eval" "arguments"))""",
    "regex": "(regex) @x",
    "prototype_key": """
        (object (pair key: [(property_identifier) (string)] @x)
         (#match? @x "^.?__proto__.?$"))""",
}

# Patterns that need a text where one of these regular expressions occurs. Asking that first is
# cheaper than following them, and above all than testing predicates on one node after the other.
# Each regular expression begins with a literal: the fast way through a text.
_TRIGGERS: Final = {
    "?? mixed with || or && without parentheses": (rb"\?\?",),
    "octal escape": (rb"\\[0-9]",),
    "constructor": (b"constructor", b"prototype"),
    "assigned": (b"eval", b"arguments"),
    "prototype_key": (b"__proto__",),
}

# Looked for in the text, too, and then in the tree.
_RESERVED: Final = [
    re.compile(rf"{word}\b".encode()) for word in ("arguments", "enum", *_STRICT_KEYWORDS)
]
_REFERENCES: Final = {"identifier", "shorthand_property_identifier", "statement_identifier"}

_UNBINDABLE: Final = {*_KEYWORDS, *_STRICT_KEYWORDS, "eval", "arguments"}

_BEYOND_ASCII = re.compile(rb"[\x80-\xff]+")
# White space, and the joiners that ECMA-262 allows in names and Python does not.
_ALWAYS_ALLOWED = dict.fromkeys(map(ord, WHITE_SPACE + "\u200c\u200d"))

_IDENTIFIER_ESCAPE = re.compile(r"\\u(?:\{([0-9a-fA-F]+)\}|([0-9a-fA-F]{4}))")
_TEXT_NODES = {
    "comment",
    "hash_bang_line",
    "html_comment",
    "regex_pattern",
    "string",
    "string_fragment",
    "template_string",
}


def identifier_name(text: str) -> str:
    """The name that an identifier stands for, its escapes resolved."""
    if "\\" not in text:
        return text
    return _IDENTIFIER_ESCAPE.sub(lambda match: chr(int(match[1] or match[2], 16)), text)


class EarlyErrors:
    """The rules, compiled for one grammar."""

    def __init__(self, language: Language) -> None:
        reasons = [*_FORBIDDEN, *_FORBIDDEN_IN_2022]
        self._reasons = {f"forbidden.{number}": reason for number, reason in enumerate(reasons)}
        self._rules = [*_RULES, "reserved"]
        self._rule_numbers = {f"rule.{number}": number for number in range(len(_RULES))}
        patterns = {**_named(_FORBIDDEN, "forbidden"), **_named(_RULES, "rule")}
        self._triggered = [
            ([re.compile(trigger) for trigger in triggers], Query(language, patterns.pop(name)))
            for name, triggers in _TRIGGERS.items()
        ]
        common = patterns.values()
        newer = _named(_FORBIDDEN_IN_2022, "forbidden", len(_FORBIDDEN)).values()
        self._queries: dict[Edition, Query] = {
            "latest": Query(language, "\n".join(common)),
            "2022": Query(language, "\n".join([*common, *newer])),
        }
        self._syntax_errors = Query(language, "[(ERROR) (MISSING)] @x")

    def first(self, root: Node, source: bytes, edition: Edition) -> EarlyError | None:
        """An early error, not always the first in the text; ``None`` for a valid module.

        Args:
            root: The ``program`` node.
            source: The UTF-8 text that its offsets count.
            edition: The edition whose syntax is accepted.
        """
        if root.has_error:
            nodes = QueryCursor(self._syntax_errors).captures(root).get("x", [root])
            return EarlyError(min(node.start_byte for node in nodes), "syntax error")
        queries = [self._queries[edition]]
        for triggers, query in self._triggered:
            if any(trigger.search(source) for trigger in triggers):
                queries.append(query)
        events: list[_Event] = []
        for query in queries:
            # Not captures(): ordering those takes tree-sitter time quadratic in a wide node.
            for _, captures in QueryCursor(query).matches(root):
                for name, (node, *_) in captures.items():
                    if (rule := self._rule_numbers.get(name)) is not None:
                        events.append((node.start_byte, -node.end_byte, rule, node))
                    elif (reason := self._reasons.get(name)) is not None:
                        return EarlyError(node.start_byte, reason)
        events.extend(_reserved(root, source, self._rules.index("reserved")))
        events.sort(key=itemgetter(0, 1, 2))
        try:
            _Pass(root, source, edition).run(events, self._rules)
        except _InvalidError as invalid:
            return invalid.error
        return None


def _named(patterns: dict[str, str], kind: str, start: int = 0) -> dict[str, str]:
    """The patterns with ``@x`` renamed to ``@<kind>.<number>``."""
    return {
        name: re.sub(r"@x\b", f"@{kind}.{number}", pattern)
        for number, (name, pattern) in enumerate(patterns.items(), start)
    }


def _reserved(root: Node, source: bytes, rule: int) -> Iterator[_Event]:
    """The references by a name that is reserved, or restricted, in modules."""
    for word in _RESERVED:
        for match in word.finditer(source):
            start, end = match.span()
            node = root.descendant_for_byte_range(start, end)
            if node is not None and node.type in _REFERENCES and node.byte_range == (start, end):
                yield start, -end, rule, node


@define(slots=True, eq=False)
class _Frame:
    """A part of the text that names, jumps or private names are looked up in.

    Attributes:
        kind: ``module``, ``function``, ``arrow``, ``static_block``, ``field``, ``class``, ``loop``,
            ``switch``, ``catch``, ``block`` or ``label``.
        end: The byte offset behind it.
        node: The node it stands for.
        lexical: Names declared by ``let``, ``const``, ``class``, ``import`` and the like.
        variables: Names declared by ``var`` in it or below, and parameters.
        shadowable: The simple parameter of a ``catch``, which a ``var`` may redeclare.
    """

    kind: str
    end: int
    node: Node
    lexical: set[str] = field(factory=set)
    variables: set[str] = field(factory=set)
    shadowable: str | None = None


@define(slots=True, eq=False)
class _ClassFrame(_Frame):
    has_constructor: bool = False
    private_members: dict[str, str] = field(factory=dict)
    private_uses: list[tuple[str, Node]] = field(factory=list)


_FUNCTIONS: Final = {"function", "arrow"}
_VARIABLE_SCOPES: Final = {"module", "function", "arrow", "static_block"}
_THIS_SCOPES: Final = {"module", "function", "static_block", "field"}
_AWAIT_SCOPES: Final = {"module", "function", "arrow", "static_block", "field"}


class _Pass:
    """One walk over the captured nodes in source order, with the frames around the current one."""

    def __init__(self, root: Node, source: bytes, edition: Edition) -> None:
        self._root = root
        self._source = source
        self._edition = edition
        self._module = _Frame("module", len(source) + 1, root)
        self._frames = [self._module]
        self._prototype_keys: set[int] = set()

    def run(self, events: list[_Event], rules: list[str]) -> None:
        handlers: list[Callable[[Node], None]] = [getattr(self, f"_on_{rule}") for rule in rules]
        frames = self._frames
        for start, _, rule, node in events:
            while frames[-1].end <= start:
                self._close(frames.pop())
            handlers[rule](node)
        while len(frames) > 1:
            self._close(frames.pop())
        self._check_exports()
        self._check_characters()

    # Frames

    def _push(self, kind: str, node: Node) -> _Frame:
        frame = _Frame(kind, node.end_byte, node)
        self._frames.append(frame)
        return frame

    def _enclosing(self, kinds: set[str]) -> _Frame:
        return next(frame for frame in reversed(self._frames) if frame.kind in kinds)

    def _enclosing_class(self) -> _ClassFrame | None:
        return next((f for f in reversed(self._frames) if isinstance(f, _ClassFrame)), None)

    def _on_function_declaration(self, node: Node) -> None:
        name = node.child_by_field_name("name")
        if name is not None:
            if self._frames[-1].kind in _FUNCTIONS:
                self._declare_variable(name, self._name(name))
            else:
                self._declare_lexical(name, self._name(name))
        self._push("function", node)

    def _on_function(self, node: Node) -> None:
        self._push("function", node)

    def _on_arrow(self, node: Node) -> None:
        self._push("arrow", node)

    def _on_class_declaration(self, node: Node) -> None:
        name = node.child_by_field_name("name")
        if name is not None:
            self._declare_lexical(name, self._name(name))
        self._on_class(node)

    def _on_class(self, node: Node) -> None:
        self._frames.append(_ClassFrame("class", node.end_byte, node))

    def _on_static_block(self, node: Node) -> None:
        self._push("static_block", node)

    def _on_field(self, node: Node) -> None:
        self._push("field", node)

    def _on_loop(self, node: Node) -> None:
        self._push("loop", node)

    def _on_switch(self, node: Node) -> None:
        self._push("switch", node)

    def _on_catch(self, node: Node) -> None:
        frame = self._push("catch", node)
        parameter = node.child_by_field_name("parameter")
        if parameter is None:
            return
        for name_node in _bound(parameter):
            self._declare_lexical(name_node, self._name(name_node))
        if parameter.type == "identifier":
            frame.shadowable = self._name(parameter)

    def _on_block(self, node: Node) -> None:
        outer = self._frames[-1]
        is_body = outer.end == node.end_byte and outer.kind in {
            "function",
            "arrow",
            "static_block",
            "catch",
        }
        if not is_body:
            self._push("block", node)

    # Names

    def _name(self, node: Node) -> str:
        return identifier_name(self._text(node))

    def _text(self, node: Node) -> str:
        return self._source[node.start_byte : node.end_byte].decode()

    def _declare_lexical(self, node: Node, name: str) -> None:
        self._check_bindable(node, name)
        frame = self._frames[-1]
        if name in frame.lexical or name in frame.variables:
            raise _InvalidError(node, f"{name} is declared twice")
        frame.lexical.add(name)

    def _declare_variable(self, node: Node, name: str) -> None:
        self._check_bindable(node, name)
        for frame in reversed(self._frames):
            if name in frame.lexical and name != frame.shadowable:
                raise _InvalidError(node, f"{name} is declared twice")
            frame.variables.add(name)
            if frame.kind in _VARIABLE_SCOPES:
                break

    def _check_bindable(self, node: Node, name: str) -> None:
        if name in _UNBINDABLE:
            raise _InvalidError(node, f"{name} cannot be declared")
        if not name.isascii() and not name.replace("$", "_").isidentifier():
            # Python's identifiers lack the joiners that ECMAScript allows.
            plain = name.replace("$", "_").replace("\u200c", "").replace("\u200d", "")
            if not plain.isidentifier():
                raise _InvalidError(node, "unexpected character in a name")

    def _on_lexical(self, node: Node) -> None:
        for name_node in _bound(node):
            self._declare_lexical(name_node, self._name(name_node))

    def _on_variable(self, node: Node) -> None:
        for name_node in _bound(node):
            self._declare_variable(name_node, self._name(name_node))

    def _on_parameter(self, node: Node) -> None:
        variables = self._frames[-1].variables
        for name_node in _bound(node):
            name = self._name(name_node)
            self._check_bindable(name_node, name)
            if name in variables:
                raise _InvalidError(name_node, f"parameter {name} occurs twice")
            variables.add(name)

    def _on_import(self, node: Node) -> None:
        local = node.children[-1] if node.type == "import_specifier" else node
        self._declare_lexical(local, self._name(local))

    def _on_module_item(self, node: Node) -> None:
        if len(self._frames) > 1:
            raise _InvalidError(node, "import or export below the top level")

    def _on_assigned(self, node: Node) -> None:
        raise _InvalidError(node, f"assignment to {self._name(node)}")

    def _on_reserved(self, node: Node) -> None:
        name = self._name(node)
        if name == "await" and self._is_called(node):
            self._on_await(node)
            return
        if name != "arguments":
            raise _InvalidError(node, f"{name} is a reserved word")
        if self._enclosing(_THIS_SCOPES).kind in {"field", "static_block"}:
            raise _InvalidError(node, "arguments in a class field or static block")

    @staticmethod
    def _is_called(node: Node) -> bool:
        """Whether the grammar took ``await (…)`` for a call."""
        parent = node.parent
        return (
            parent is not None
            and parent.type == "call_expression"
            and parent.child_by_field_name("function") == node
        )

    # Functions

    def _on_return(self, node: Node) -> None:
        if self._enclosing(_VARIABLE_SCOPES).kind not in _FUNCTIONS:
            raise _InvalidError(node, "return outside a function")

    def _on_await(self, node: Node) -> None:
        frame = self._enclosing(_AWAIT_SCOPES)
        if frame.kind != "module" and not _runs_as(frame, "async", node):
            raise _InvalidError(node, "await outside an async function")

    def _on_yield(self, node: Node) -> None:
        if not _runs_as(self._enclosing(_AWAIT_SCOPES), "*", node):
            raise _InvalidError(node, "yield outside a generator")

    def _on_super_call(self, node: Node) -> None:
        frame = self._enclosing(_THIS_SCOPES)
        name = frame.node.child_by_field_name("name")
        around = self._enclosing_class()
        is_constructor = (
            frame.node.type == "method_definition"
            and name is not None
            and self._name(name).strip("'\"") == "constructor"
            and around is not None
            and any(child.type == "class_heritage" for child in around.node.children)
        )
        if not is_constructor:
            raise _InvalidError(node, "super() outside the constructor of a derived class")

    def _on_super_member(self, node: Node) -> None:
        frame = self._enclosing(_THIS_SCOPES)
        if frame.kind == "module" or frame.node.type.startswith(("function", "generator")):
            raise _InvalidError(node, "super outside a method")

    def _on_meta_property(self, node: Node) -> None:
        if node.children[0].type == "new" and self._enclosing(_THIS_SCOPES) is self._module:
            raise _InvalidError(node, "new.target outside a function")

    def _on_accessor(self, node: Node) -> None:
        parameters = node.child_by_field_name("parameters")
        named = [] if parameters is None else parameters.named_children
        kinds = [child.type for child in named if child.type != "comment"]
        is_getter = any(child.type == "get" for child in node.children)
        if len(kinds) != (0 if is_getter else 1) or "rest_pattern" in kinds:
            raise _InvalidError(node, "wrong number of parameters of an accessor")

    # Jumps

    def _on_label(self, node: Node) -> None:
        name = self._label(node)
        if name is not None and self._find_label(name) is not None:
            raise _InvalidError(node, f"label {name} is declared twice")
        self._push("label", node)

    def _on_jump(self, node: Node) -> None:
        label = self._label(node)
        is_continue = node.type == "continue_statement"
        if label is not None:
            target = self._find_label(label)
            while target is not None and target.type == "labeled_statement":
                if not is_continue:
                    return
                target = target.child_by_field_name("body")
            if target is None or target.type not in _LOOPS:
                raise _InvalidError(node, f"label {label} is not defined here")
            return
        for frame in reversed(self._frames):
            if frame.kind == "loop" or (frame.kind == "switch" and not is_continue):
                return
            if frame.kind in _VARIABLE_SCOPES:
                break
        raise _InvalidError(node, f"{'continue' if is_continue else 'break'} outside a loop")

    def _label(self, node: Node) -> str | None:
        label = node.child_by_field_name("label")
        return None if label is None else self._name(label)

    def _find_label(self, name: str) -> Node | None:
        for frame in reversed(self._frames):
            if frame.kind == "label" and self._label(frame.node) == name:
                return frame.node
            if frame.kind in _VARIABLE_SCOPES:
                break
        return None

    # Classes

    def _on_private_member(self, node: Node) -> None:
        around = self._enclosing_class()
        name_node = node.child_by_field_name("name") or node.child_by_field_name("property")
        if around is None or name_node is None:
            return
        name = self._name(name_node)
        tokens = {child.type for child in node.children}
        kind = next((token for token in ("get", "set") if token in tokens), "other")
        kind = f"static {kind}" if "static" in tokens else kind
        previous = around.private_members.get(name)
        if name == "#constructor" or (previous is not None and {previous, kind} not in _PAIRS):
            raise _InvalidError(name_node, f"{name} is declared twice or not allowed")
        around.private_members[name] = kind if previous is None else "accessor pair"

    def _on_private_use(self, node: Node) -> None:
        around = self._enclosing_class()
        if around is None:
            raise _InvalidError(node, f"{self._name(node)} is not declared")
        around.private_uses.append((self._name(node), node))

    def _close(self, frame: _Frame) -> None:
        if not isinstance(frame, _ClassFrame):
            return
        missing = [use for use in frame.private_uses if use[0] not in frame.private_members]
        outer = self._enclosing_class()
        if outer is not None:
            outer.private_uses.extend(missing)
        elif missing:
            name, node = missing[0]
            raise _InvalidError(node, f"{name} is not declared")

    def _on_constructor(self, node: Node) -> None:
        name_node = node.child_by_field_name("name") or node.child_by_field_name("property")
        around = self._enclosing_class()
        if name_node is None or around is None:
            return
        name = self._name(name_node).strip("'\"")
        tokens = {child.type for child in node.children}
        if "static" in tokens:
            if name == "prototype":
                raise _InvalidError(node, "static member named prototype")
            if name == "constructor" and node.type == "field_definition":
                raise _InvalidError(node, "class field named constructor")
        elif name == "constructor":
            if node.type == "field_definition" or tokens & {"get", "set", "async", "*"}:
                raise _InvalidError(node, "constructor is not a plain method")
            if around.has_constructor:
                raise _InvalidError(node, "second constructor")
            around.has_constructor = True

    # Literals

    def _on_prototype_key(self, node: Node) -> None:
        pair = node.parent
        around = None if pair is None else pair.parent
        if around is not None and self._name(node).strip("'\"") == "__proto__":
            if around.id in self._prototype_keys:
                raise _InvalidError(node, "second __proto__ in an object")
            self._prototype_keys.add(around.id)

    def _on_regex(self, node: Node) -> None:
        pattern, _, flags = self._text(node)[1:].rpartition("/")
        problem = _regex_problem(pattern, flags, self._edition)
        if problem is not None:
            raise _InvalidError(node, f"regular expression: {problem}")

    # The module as a whole

    def _check_exports(self) -> None:
        exported: set[str] = set()
        for statement in self._root.named_children:
            if statement.type != "export_statement":
                continue
            for node, name in self._exported_names(statement):
                if name in exported:
                    raise _InvalidError(node, f"{name} is exported twice")
                exported.add(name)

    def _exported_names(self, statement: Node) -> Iterator[tuple[Node, str]]:
        is_local = statement.child_by_field_name("source") is None
        declared = self._module.lexical | self._module.variables if is_local else set()
        for child in statement.children:
            match child.type:
                case "default":
                    yield child, "default"
                    return
                case "export_clause":
                    for specifier in child.named_children:
                        if specifier.type != "export_specifier":
                            continue
                        local = self._name(specifier.children[0])
                        if is_local and local not in declared:
                            raise _InvalidError(specifier, f"{local} is exported, not declared")
                        yield specifier, self._name(specifier.children[-1]).strip("'\"")
                case "namespace_export":
                    yield child, self._name(child.children[-1]).strip("'\"")
                case "lexical_declaration" | "variable_declaration":
                    for declarator in child.named_children:
                        name = declarator.child_by_field_name("name")
                        if name is not None:
                            yield from ((node, self._name(node)) for node in _bound(name))
                case _:
                    name = child.child_by_field_name("name")
                    if name is not None and child.type.endswith("declaration"):
                        yield name, self._name(name)

    def _check_characters(self) -> None:
        if self._source.isascii():
            return
        # The grammar takes any character beyond ASCII for a letter, and some for white space.
        for run in _BEYOND_ASCII.finditer(self._source):
            rest = run[0].decode().translate(_ALWAYS_ALLOWED)
            if f"a{rest}".isidentifier():
                continue
            node = self._root.descendant_for_byte_range(run.start(), run.start() + 1)
            if node is not None and node.type not in _TEXT_NODES:
                raise _InvalidError(node, "unexpected character")


_PAIRS: Final = ({"get", "set"}, {"static get", "static set"})
_LOOPS: Final = {"for_statement", "for_in_statement", "while_statement", "do_statement"}


def _bound(pattern: Node) -> Iterator[Node]:
    """The identifiers that a binding pattern declares."""
    match pattern.type:
        case "identifier" | "shorthand_property_identifier_pattern" | "undefined":
            yield pattern
        case "assignment_pattern" | "object_assignment_pattern":
            left = pattern.child_by_field_name("left")
            if left is not None:
                yield from _bound(left)
        case "pair_pattern":
            value = pattern.child_by_field_name("value")
            if value is not None:
                yield from _bound(value)
        case "array_pattern" | "object_pattern" | "rest_pattern":
            for child in pattern.named_children:
                yield from _bound(child)
        case "comment":
            pass
        case _:
            raise _InvalidError(pattern, "not a name to declare")


def _runs_as(frame: _Frame, token: str, node: Node) -> bool:
    """Whether a function has ``token`` (async or ``*``) and the node is not in its parameters."""
    body = frame.node.child_by_field_name("body")
    return (
        frame.kind in _FUNCTIONS
        and body is not None
        and body.start_byte <= node.start_byte
        and any(child.type == token for child in frame.node.children)
    )


_REGEX_TOKEN = re.compile(
    r"\\."
    r"|\[(?:\\.|[^\]\\])*\]"
    r"|\((?:\?(?:[:=!]|<[=!]|<(?P<name>[^>]*)>|(?P<modifiers>[ims-]+):))?"
    r"|[*+?]\??|\{\d+(?:,\d*)?\}\??"
    r"|.",
    re.DOTALL,
)
_REGEX_FLAGS: Final = {"2022": frozenset("dgimsuy"), "latest": frozenset("dgimsuvy")}


def _regex_problem(pattern: str, flags: str, edition: Edition) -> str | None:
    """What is wrong with the flags, groups or quantifiers of a regular expression."""
    if len(set(flags)) < len(flags) or not _REGEX_FLAGS[edition].issuperset(flags):
        return "invalid flags"
    if "v" in flags:  # its character classes nest
        return "flags u and v together" if "u" in flags else None
    depth = 0
    repeatable = False
    names: set[str] = set()
    for match in _REGEX_TOKEN.finditer(pattern):
        part = match[0]
        if part[0] == "(":
            depth += 1
            repeatable = False
            if edition == "2022" and (match["modifiers"] or match["name"] in names):
                return "newer than ECMAScript 2022"
            if match["name"] in names and "|" not in pattern:
                return "duplicate group name"
            if match["name"]:
                names.add(match["name"])
        elif part == ")":
            depth -= 1
            if depth < 0:
                return "unmatched )"
            repeatable = True
        elif part[0] in "*+?" or (part[0] == "{" and len(part) > 1):
            if not repeatable:
                return "nothing to repeat"
            repeatable = False
        elif part == "[":
            return "unterminated class"
        else:
            repeatable = part not in {"|", "^", "$", r"\b", r"\B"}
    return "unterminated group" if depth else None
