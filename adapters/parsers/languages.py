"""What a definition is in each language that :mod:`adapters.parsers.code_parser` cuts.

A language is a row of data: the grammar, the suffixes of its files and a tree-sitter query. In the
query ``@class`` is what has members of its own and ``@function`` what is never cut by syntax;
``@name`` is its name, ``@owner`` a class named outside of its body, ``@lead`` what belongs to the
definition behind it; a pattern of its own tells for the class of a ``@name`` what it ``@extends``,
the first if several. Of captures with one ``@name`` the largest counts, so a wrapper (a decorator,
``export``, ``template``) is one more pattern. Methods without a body stay with their class.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen


@frozen
class LanguageTable:
    """A language.

    Attributes:
        name: Goes into ``parserId``.
        module: The module of its grammar.
        suffixes: Suffixes of its files, in lower case.
        query: Its definitions.
        function: The grammar's function in ``module``.
        macros: Whose first group the grammar is not shown, since it takes it for something else.
    """

    name: str
    module: str
    suffixes: tuple[str, ...]
    query: str
    function: str = "language"
    macros: re.Pattern[bytes] | None = None


_ECMASCRIPT: Final = """
    (comment) @lead
    (decorator) @lead
    (function_declaration name: (_) @name) @function
    (generator_function_declaration name: (_) @name) @function
    (export_statement declaration: [
        (function_declaration name: (_) @name)
        (generator_function_declaration name: (_) @name)]) @function
    (method_definition name: (_) @name) @function
    (class_declaration name: (_) @name) @class
    (export_statement declaration: (class_declaration name: (_) @name)) @class
    (lexical_declaration (variable_declarator
        name: (identifier) @name value: [(arrow_function) (function_expression)])) @function
    (variable_declaration (variable_declarator
        name: (identifier) @name value: [(arrow_function) (function_expression)])) @function
    (export_statement declaration: (lexical_declaration (variable_declarator
        name: (identifier) @name value: [(arrow_function) (function_expression)]))) @function
    (export_statement "default" @name value: [(arrow_function) (function_expression)]) @function
    (expression_statement (assignment_expression
        left: [(identifier) (member_expression)] @name
        right: [(arrow_function) (function_expression)])) @function
    (lexical_declaration (variable_declarator name: (identifier) @name value: (class))) @class
    (variable_declaration (variable_declarator name: (identifier) @name value: (class))) @class
    (export_statement declaration: (lexical_declaration (variable_declarator
        name: (identifier) @name value: (class)))) @class
    (export_statement "default" @name value: (class !name)) @class
    (expression_statement (assignment_expression left: (_) @name right: (class !name))) @class
    (expression_statement (assignment_expression right: (class name: (_) @name))) @class
"""

# An object with functions is a class of them, if something says what it is called.
_METHODS: Final = """[
    (pair value: [(arrow_function) (function_expression)])
    (method_definition)
    (pair value: (object [
        (pair value: [(arrow_function) (function_expression)])
        (method_definition)]))]"""
_OBJECTS: Final = f"""
    (lexical_declaration (variable_declarator
        name: (identifier) @name value: (object {_METHODS}))) @class
    (variable_declaration (variable_declarator
        name: (identifier) @name value: (object {_METHODS}))) @class
    (export_statement declaration: (lexical_declaration (variable_declarator
        name: (identifier) @name value: (object {_METHODS})))) @class
    (export_statement "default" @name value: (object {_METHODS})) @class
    (expression_statement (assignment_expression
        left: (_) @name right: (object {_METHODS}))) @class
    (pair key: (_) @name value: (object {_METHODS})) @class
    (variable_declarator value: (object
        (pair key: (_) @name value: [(arrow_function) (function_expression)]) @function))
    (export_statement value: (object
        (pair key: (_) @name value: [(arrow_function) (function_expression)]) @function))
    (assignment_expression right: (object
        (pair key: (_) @name value: [(arrow_function) (function_expression)]) @function))
    (pair value: (object
        (pair key: (_) @name value: [(arrow_function) (function_expression)]) @function))
"""

# What a class extends, by where its name is.
_HERITAGE: Final = """
    (class_declaration name: (_) @name (class_heritage {parent}))
    (class name: (_) @name (class_heritage {parent}))
    (variable_declarator name: (_) @name value: (class (class_heritage {parent})))
    (assignment_expression left: (_) @name right: (class !name (class_heritage {parent})))
    (export_statement "default" @name value: (class !name (class_heritage {parent})))
"""

_JAVASCRIPT: Final = (
    _ECMASCRIPT
    + _OBJECTS
    + _HERITAGE.format(parent="[(identifier) (member_expression)] @extends")
    + """
    (field_definition
        property: (_) @name value: [(arrow_function) (function_expression)]) @function
"""
)

_TYPESCRIPT: Final = (
    _ECMASCRIPT
    + _OBJECTS
    + _HERITAGE.format(parent="(extends_clause value: (_) @extends)")
    + """
    (abstract_class_declaration
        name: (_) @name (class_heritage (extends_clause value: (_) @extends)))
    (interface_declaration name: (_) @name (extends_type_clause type: [
        (type_identifier) @extends
        (nested_type_identifier) @extends
        (generic_type name: (_) @extends)]))
    (public_field_definition
        name: (_) @name value: [(arrow_function) (function_expression)]) @function
    (abstract_class_declaration name: (_) @name) @class
    (interface_declaration name: (_) @name) @class
    (enum_declaration name: (_) @name) @class
    (type_alias_declaration name: (_) @name value: (object_type)) @class
    (export_statement declaration: [
        (abstract_class_declaration name: (_) @name)
        (interface_declaration name: (_) @name)
        (enum_declaration name: (_) @name)
        (type_alias_declaration name: (_) @name value: (object_type))]) @class
"""
)

_C: Final = """
    (comment) @lead
    (function_definition declarator: (function_declarator declarator: (_) @name)) @function
    (function_definition declarator: (pointer_declarator
        declarator: (function_declarator declarator: (_) @name))) @function
    (function_definition declarator: (pointer_declarator declarator: (pointer_declarator
        declarator: (function_declarator declarator: (_) @name)))) @function
    (struct_specifier name: (_) @name body: (_)) @class
    (union_specifier name: (_) @name body: (_)) @class
    (enum_specifier name: (_) @name body: (_)) @class
    (type_definition type: [
        (struct_specifier name: (_) @name body: (_))
        (union_specifier name: (_) @name body: (_))
        (enum_specifier name: (_) @name body: (_))]) @class
    (type_definition type: [
        (struct_specifier !name body: (_))
        (union_specifier !name body: (_))
        (enum_specifier !name body: (_))] declarator: (_) @name) @class
"""

_CPP: Final = (
    _C
    + """
    (function_definition declarator: (reference_declarator
        (function_declarator declarator: (_) @name))) @function
    (function_definition declarator: (qualified_identifier
        name: (operator_cast)) @name) @function
    (function_definition declarator: (operator_cast) @name) @function
    (class_specifier name: (_) @name body: (_)) @class
    (_ name: (_) @name (base_class_clause [
        (type_identifier) @extends
        (qualified_identifier) @extends
        (template_type name: (_) @extends)]))
    (template_declaration [
        (class_specifier name: (_) @name body: (_))
        (struct_specifier name: (_) @name body: (_))]) @class
    (template_declaration (function_definition declarator: [
        (function_declarator declarator: (_) @name)
        (pointer_declarator declarator: (function_declarator declarator: (_) @name))
        (reference_declarator (function_declarator declarator: (_) @name))])) @function
"""
)

# Between "class" and its name, as in `class API_EXPORT Widget : public Base {`.
_CLASS_MACROS: Final = re.compile(
    rb"\b(?:class|struct|union)\s++((?:[A-Z_][A-Z0-9_]*+(?:\([^()]*+\))?+\s++)+)"
    rb"(?=[A-Za-z_]\w*+\s*+(?:<[^;{}<>]*+>\s*+)?+(?:final\s*+)?+[:{])"
)

LANGUAGES: Final = (
    LanguageTable(
        "python",
        "tree_sitter_python",
        (".py", ".pyi", ".pyw"),
        """
        (comment) @lead
        (function_definition name: (_) @name) @function
        (class_definition name: (_) @name) @class
        (class_definition name: (_) @name superclasses: (argument_list [
            (identifier) @extends
            (attribute) @extends
            (subscript value: (_) @extends)]))
        (decorated_definition definition: (function_definition name: (_) @name)) @function
        (decorated_definition definition: (class_definition name: (_) @name)) @class
        """,
    ),
    LanguageTable(
        "javascript", "tree_sitter_javascript", (".cjs", ".js", ".jsx", ".mjs"), _JAVASCRIPT
    ),
    LanguageTable(
        "typescript",
        "tree_sitter_typescript",
        (".cts", ".mts", ".ts"),
        _TYPESCRIPT,
        "language_typescript",
    ),
    LanguageTable("tsx", "tree_sitter_typescript", (".tsx",), _TYPESCRIPT, "language_tsx"),
    LanguageTable(
        "java",
        "tree_sitter_java",
        (".java",),
        """
        [(line_comment) (block_comment)] @lead
        (method_declaration name: (_) @name body: (_)) @function
        (constructor_declaration name: (_) @name) @function
        (compact_constructor_declaration name: (_) @name) @function
        (class_declaration name: (_) @name) @class
        (interface_declaration name: (_) @name) @class
        (enum_declaration name: (_) @name) @class
        (record_declaration name: (_) @name) @class
        (annotation_type_declaration name: (_) @name) @class
        (class_declaration name: (_) @name superclass: (superclass [
            (type_identifier) @extends
            (scoped_type_identifier) @extends
            (generic_type . (_) @extends)]))
        (interface_declaration name: (_) @name (extends_interfaces (type_list [
            (type_identifier) @extends
            (scoped_type_identifier) @extends
            (generic_type . (_) @extends)])))
        """,
    ),
    LanguageTable("c", "tree_sitter_c", (".c",), _C),
    # A header may be of either language; C++'s grammar takes nearly all of C.
    LanguageTable(
        "cpp",
        "tree_sitter_cpp",
        (".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".hxx", ".inl", ".ipp"),
        _CPP,
        macros=_CLASS_MACROS,
    ),
    LanguageTable(
        "go",
        "tree_sitter_go",
        (".go",),
        """
        (comment) @lead
        (function_declaration name: (_) @name) @function
        (method_declaration receiver: (parameter_list (parameter_declaration type: [
            (type_identifier) @owner
            (generic_type type: (_) @owner)
            (pointer_type (type_identifier) @owner)
            (pointer_type (generic_type type: (_) @owner))])) name: (_) @name) @function
        (type_declaration "type" . (type_spec
            name: (_) @name type: [(struct_type) (interface_type)])) @class
        (type_declaration "(" (type_spec
            name: (_) @name type: [(struct_type) (interface_type)]) @class)
        """,
    ),
    LanguageTable(
        "rust",
        "tree_sitter_rust",
        (".rs",),
        """
        [(line_comment) (block_comment) (attribute_item)] @lead
        (function_item name: (_) @name) @function
        (macro_definition name: (_) @name) @function
        (struct_item name: (_) @name) @class
        (enum_item name: (_) @name) @class
        (union_item name: (_) @name) @class
        (trait_item name: (_) @name) @class
        (trait_item name: (_) @name bounds: (trait_bounds [
            (type_identifier) @extends
            (scoped_type_identifier) @extends
            (generic_type type: (_) @extends)]))
        (impl_item type: [
            (type_identifier) @name
            (scoped_type_identifier) @name
            (generic_type type: (_) @name)
            (reference_type type: (_) @name)]) @class
        """,
    ),
    LanguageTable(
        "c-sharp",
        "tree_sitter_c_sharp",
        (".cs",),
        """
        (comment) @lead
        (method_declaration name: (_) @name body: (_)) @function
        (constructor_declaration name: (_) @name) @function
        (destructor_declaration "~" name: (_) @name) @function
        (class_declaration name: (_) @name) @class
        (interface_declaration name: (_) @name) @class
        (struct_declaration name: (_) @name) @class
        (record_declaration name: (_) @name) @class
        (enum_declaration name: (_) @name) @class
        (_ name: (_) @name (base_list [
            (identifier) @extends
            (qualified_name) @extends
            (generic_name . (_) @extends)
            (primary_constructor_base_type type: (_) @extends)]))
        """,
    ),
    LanguageTable(
        "ruby",
        "tree_sitter_ruby",
        (".gemspec", ".rake", ".rb"),
        """
        (comment) @lead
        (method name: (_) @name) @function
        (singleton_method name: (_) @name) @function
        (class name: (_) @name) @class
        (class name: (_) @name superclass: (superclass [(constant) (scope_resolution)] @extends))
        (module name: (_) @name) @class
        """,
    ),
    LanguageTable(
        "php",
        "tree_sitter_php",
        (".php", ".phtml"),
        """
        (comment) @lead
        (function_definition name: (_) @name) @function
        (method_declaration name: (_) @name body: (_)) @function
        (class_declaration name: (_) @name) @class
        (interface_declaration name: (_) @name) @class
        (trait_declaration name: (_) @name) @class
        (_ name: (_) @name (base_clause (_) @extends))
        (enum_declaration name: (_) @name) @class
        """,
        "language_php",
    ),
)

BY_SUFFIX: Final = {suffix: language for language in LANGUAGES for suffix in language.suffixes}
