"""Judge what ``mutmut run`` has found: ``python -m tests.mutants``.

Every mutant has to be killed, except for those that docs/mutation.md lists as equivalent. They are
listed by what they change, since mutmut's own numbers change with the code around them.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path
from subprocess import check_output

from attrs import frozen

MUTMUT = Path(sys.executable).with_name("mutmut")
LIST = Path(__file__).parents[1] / "docs" / "mutation.md"


@frozen
class Mutant:
    """One change of one function: a row of the list."""

    function: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"| `{self.function}` | `{self.before}` | `{self.after}` |"


def mutmut(*arguments: str) -> list[str]:
    return check_output([MUTMUT, *arguments], text=True).splitlines()


def results() -> list[tuple[str, str]]:
    """Names with what became of them, of the mutants that were asked for."""
    lines = [line.strip().rpartition(": ") for line in mutmut("results", "--all", "true")]
    return [(name, status) for name, _, status in lines if status != "not checked"]


def shown(name: str) -> Mutant:
    """What a mutant changes, read from ``mutmut show``."""
    diff = [line for line in mutmut("show", name) if not line.startswith(("---", "+++"))]
    before, after = (
        " ".join(line[1:].strip() for line in diff if line.startswith(sign)) for sign in "-+"
    )
    module, _, function = re.sub(r"__mutmut_\d+$", "", name).rpartition(".")
    return Mutant(f"{module}.{re.sub('^x[ǁ_]', '', function).replace('ǁ', '.')}", before, after)


def listed() -> list[Mutant]:
    row = re.compile(r"^\| `(.+?)` \| `(.+?)` \| `(.*?)` \|", re.MULTILINE)
    return [Mutant(*cells) for cells in row.findall(LIST.read_text("utf-8"))]


def main() -> int:
    """Print the score and what is wrong; 1 if anything is."""
    judged = results()
    if hung := [name for name, status in judged if status == "timeout"]:
        mutmut("run", *hung)  # a busy machine, or tests that do not end with this mutant
        judged = results()
    noticed = {"killed", "timeout"}
    missed = Counter(shown(name) for name, status in judged if status not in noticed)
    equivalent = Counter(listed())
    for mutant in (missed - equivalent).elements():
        print(f"not killed: {mutant}")
    for mutant in (equivalent - missed).elements():
        print(f"listed, but killed or no longer made: {mutant}")
    killed = len(judged) - missed.total()
    print(f"{killed} of {len(judged)} mutants killed, {equivalent.total()} listed as equivalent")
    return int(not judged or missed != equivalent)


if __name__ == "__main__":
    sys.exit(main())
