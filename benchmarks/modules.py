"""Compares our verdicts on damaged ES modules with those of the reference's parser, acorn 8.

``python -m benchmarks.modules`` needs Node and npm. Every module of neo.mjs is damaged at random,
plainly (characters, words and lines that are lost, doubled or swapped) and hostilely (syntax that
parsers tend to get wrong is put in). Ends with status 1 when more than three of a thousand verdicts
on plain damage differ.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import click
from attrs import frozen

from benchmarks._results import write_section
from benchmarks._workspace import NEO, machine, neo_workspace
from benchmarks.extraction import SCRATCH, install
from tenantkb.adapters.parsers.grammar_gaps import tree_of
from tenantkb.adapters.parsers.source_parser import SourceParser
from tenantkb.adapters.parsers.validity import require_module
from tenantkb.domain.errors import UnparsableFileError

MOST_OF_PLAIN: Final = 0.003
HERE: Final = Path(__file__).parent
_LARGEST: Final = 60_000
_TOKEN: Final = re.compile(r"[\w$#]+|\s+|[^\w\s]")
_SIGNS: Final = ("(", ")", "{", "}", "[", "]", ";", ",", ".", "'", '"', "`", "/", "=", "=>", "...")
_WORDS: Final = (
    *("async", "await", "break", "class", "const", "default", "delete", "export", "extends"),
    *("for", "function", "get", "if", "import", "in", "let", "new", "of", "return", "set"),
    *("static", "super", "this", "throw", "try", "typeof", "using", "var", "while", "yield"),
)
_HOSTILE: Final = (
    *(
        "\n",
        "\r",
        "\0",
        "\u2028",
        "\ufeff",
        "\\",
        "/*",
        "*/",
        "//",
        "<!--",
        "-->",
        "#!",
        "${",
        "\\u",
    ),
    *("?.", "??", "||", "**", "++", "--", "...", "=>", "?", ":", "@a", "#a", "#a in b", "01", "1_"),
    *("let\n", "using x = y\n", "using\n", "await using x = y;", "get\n", "static\n", "async\n"),
    *("import {delete as d} from 'x';", "export * as if from 'y';", "import a from 'b';"),
    *("export {zz};", "export default 1;", "import('a', {});", "import.meta", "new.target"),
    *("import a from 'b' with {type: 'json'};", "export * from 'z' with {type: 'json'};"),
    *("'use strict';", "with (a) {}", "label: ", "break label;", "continue;", "return;"),
    *(
        "[(a.b)] = c;",
        "({a = 1});",
        "({a} = b);",
        "a?.b = 1;",
        "new a?.b();",
        "super.x;",
        "super();",
    ),
    *("/a{2,1}/", "/(?<a>x)|(?<a>y)/", "/(?i:a)/", "/[/", "/a/v", "/\\u{1}/u", "/(?<=a)*/u"),
    *("x => {}\n(1)", "yield\n* 2", "throw\n", "delete a;", "eval = 1;", "let let = 1;"),
    *("class A { x\n*y() {} }", "class A { static {} }", "class A { #a; #a }", "var undefined;"),
    *("function f(a, a) {}", "function f({a}) { 'use strict' }", "String.raw`\\u`;", "`\\u`;"),
)


@frozen
class Verdicts:
    """How verdicts compare, in numbers of texts."""

    total: int
    valid: int
    wrongly_refused: list[str]
    wrongly_taken: list[str]

    @property
    def share(self) -> float:
        """The part that differs."""
        return (len(self.wrongly_refused) + len(self.wrongly_taken)) / self.total


def plain(text: str, chance: random.Random) -> str:
    """Lose, double, swap or put in a sign, a word or a line."""
    lines = text.split("\n")
    at = chance.randrange(len(lines))
    other = chance.randrange(len(lines))
    tokens = _TOKEN.findall(lines[at])
    place = chance.randrange(len(tokens) + 1)
    match chance.randrange(7):
        case 0:
            del lines[at]
        case 1:
            lines.insert(other, lines[at])
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            lines[at] = "".join(tokens[:place] + tokens[place + 1 :])
        case 4:
            lines[at] = "".join(tokens[:place] + tokens[max(0, place - 1) :])
        case 5:
            lines[at] = "".join([*tokens[:place], chance.choice(_SIGNS), *tokens[place:]])
        case _:
            lines[at] = "".join([*tokens[:place], chance.choice(_WORDS), " ", *tokens[place + 1 :]])
    return "\n".join(lines)


def hostile(text: str, chance: random.Random) -> str:
    """Put in some of what parsers tend to get wrong, at the edge of a line or of a word."""
    for _ in range(chance.randint(1, 2)):
        lines = text.split("\n")
        at = chance.randrange(len(lines) + 1)
        if chance.random() < 0.6:
            lines.insert(at, chance.choice(_HOSTILE))
        elif at < len(lines):
            tokens = _TOKEN.findall(lines[at])
            tokens.insert(chance.randrange(len(tokens) + 1), chance.choice(_HOSTILE))
            lines[at] = "".join(tokens)
        text = "\n".join(lines)
    return text


def acorn(texts: Sequence[str], edition: str = "latest") -> list[str | None]:
    """What acorn says against each text."""
    judged = subprocess.run(
        ["node", str(HERE / "acorn.mjs"), str(SCRATCH), edition],
        input="".join(json.dumps(text) + "\n" for text in texts),
        text=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        check=True,
    )
    return [json.loads(line) for line in judged.stdout.split("\n") if line]


def ours(text: str) -> str | None:
    """What we say against a text."""
    try:
        SourceParser().parse(text, "a.mjs")
    except UnparsableFileError as error:
        return str(error)
    return None


def compared(texts: Sequence[str]) -> Verdicts:
    """Our verdicts on texts beside acorn's, with the texts on which they differ."""
    refused, taken = [], []
    judged = acorn(texts)
    for text, theirs in zip(texts, judged, strict=True):
        mine = ours(text)
        if mine is not None and theirs is None and "static config" not in mine:
            refused.append(f"{mine}\n{text}")
        elif mine is None and theirs is not None:
            taken.append(f"{theirs}\n{text}")
    return Verdicts(len(texts), judged.count(None), refused, taken)


def megabytes_per_second(what: Callable[[str], object], texts: Sequence[str]) -> float:
    """The speed of one step, over all texts."""
    size = sum(len(text.encode()) for text in texts)
    started = time.perf_counter()
    for text in texts:
        what(text)
    return size / 1e6 / (time.perf_counter() - started)


@click.command()
@click.option("--count", default=2_000, show_default=True, help="Damaged texts of each kind.")
@click.option("--seed", default=0, show_default=True)
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Takes differences.")
def main(count: int, seed: int, keep: Path | None) -> None:
    """Damage modules, have them judged by both, print two tables, and write the section."""
    install()
    files = sorted(neo_workspace().rglob("*.mjs"))
    texts = [text for file in files if 0 < len(text := file.read_text("utf-8")) <= _LARGEST]
    chance = random.Random(seed)
    lines = [
        f"`python -m benchmarks.modules --count {count} --seed {seed}`: verdicts on modules of",
        f"{NEO}, damaged at random, beside those of acorn 8. {machine()}.",
        "",
        "| damage | texts | valid | refused wrongly | taken wrongly | share |",
        "|---|---|---|---|---|---|",
    ]
    shares = {}
    damages: dict[str, Callable[[str], str]] = {
        "none": str,
        "plain": lambda text: plain(text, chance),
        "hostile": lambda text: hostile(text, chance),
    }
    for kind, damage in damages.items():
        result = compared([damage(chance.choice(texts)) for _ in range(count)])
        shares[kind] = result.share
        refused, taken = len(result.wrongly_refused), len(result.wrongly_taken)
        lines.append(
            f"| {kind} | {result.total:,} | {result.valid:,} | {refused} | {taken} |"
            f" {result.share:.2%} |"
        )
        for name, found in (
            ("refused", result.wrongly_refused),
            ("taken", result.wrongly_taken),
        ):
            for number, text in enumerate(found if keep else ()):
                assert keep is not None
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{kind}-{name}-{number}.txt").write_text(text, encoding="utf-8")
    lines += ["", f"Speed of one process on the {len(texts):,} modules, undamaged:", ""]
    lines += ["| step | MB/s |", "|---|---|"]
    for step, what in {
        "verdict": require_module,
        "tree": lambda text: tree_of(text.encode()),
        "verdict, tree and chunks": ours,
    }.items():
        lines.append(f"| {step} | {megabytes_per_second(what, texts):.1f} |")
    text = "\n".join(lines)
    print(text)
    write_section("Verdicts on ES modules", text)
    sys.exit(shares["plain"] > MOST_OF_PLAIN)


if __name__ == "__main__":
    main()
