"""Retrieval quality: how often a question finds the one thing that it is about.

Run as ``python -m benchmarks.quality``. Five repositories in five languages are fetched once, with
their digests checked: Django (Python; without translations, static files, GeoDjango and the test
folders from ``d`` to ``z``, which would be two thirds of it), Apache Commons Lang (Java), fzf (Go),
Cargo (Rust, from Debian's archive; without the generated copies of its manual) and neo.mjs
(JavaScript, by the default sources). Each is extracted, and questions are drawn from it whose
answers are known (Azzopardi, de Rijke and Balog, *Building Simulated Queries for Known-Item
Topics*, SIGIR 2007), by hash and so the same ones in every run:

- **comments**: the first sentence of a function's documentation finds the function. What documents
  the function, and all functions of that name in the file, is taken out of the stored chunks, and
  so is the function's name where the sentence begins with it, as is the custom in Go.
- **sections**: the first sentence of a section finds the section, out of which it is taken.
- **changes**: an entry of a change log that names a class, function or file of one place finds the
  file's chunks. The entry is taken out of every chunk. fzf, Cargo and neo.mjs tell of options and
  commands or have no change log: they have few such entries, or none.
- **names**: functions, classes and files, as they are spelt or as they are typed (``getmatches``,
  ``max_size`` for ``maxSize``), find any chunk that is of them.
- **questions**: those of ``quality_questions.toml``, written by hand.

No sentence that is asked is left in any stored chunk; the run stops if one is.

Relevance is binary, and one relevant chunk answers a question: further ones add nothing. So
*nDCG@10* (Järvelin and Kekäläinen, *Cumulated Gain-Based Evaluation of IR Techniques*, ACM TOIS 20,
2002) is 1 / log2(1 + rank) of the first relevant chunk, or 0 beyond rank 10: the ideal has one
chunk at rank 1. *Recall@k* is the share of questions with a relevant chunk among the first k, *MRR*
the mean of 1 / rank down to rank 100, *context* the share with a relevant chunk in a context of
4,000 tokens. *Tests* and *one file* are the shares of tests, and of the most frequent file, among
the first ten. A corpus's figure is the mean of its kinds. In brackets are 95% intervals by the
percentile bootstrap (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993), which draws
questions anew within each kind.

A hash puts each question into one of two halves. Weights are chosen on the one (``--tune``), as is
how many answers of a page may be of one file (``--tune per-file``), and figures are those of the
other.

Systems: each arm alone; *weighted*, both by their weights without names and lifts; *default*, what
a query answers, page by page. The same with MiniLM, which is left out where its packages are
missing, at the weight that the settings advise for it. *Chroma* is what a user has without this
project: a collection with cosine distance that holds MiniLM's vectors of the plain chunks. These
are cut into windows that cover the whole chunk, where Chroma's own function cuts after 256 tokens.

MiniLM embeds some 30 chunks a second on two processors, and there are two texts to each: the one of
a store of this project, and the plain one. ``--sample 4000`` reduces every corpus of more chunks to
the files that have answers and some others, for all systems alike, which takes half an hour where
everything takes more than one. Fewer chunks are easier to tell apart: only systems of one run
compare.

Stores and vectors are kept in ``.scratch/quality/`` for the next run, as are extractions:
``--extract`` makes these anew.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import shutil
import sqlite3
import textwrap
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cache, partial
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, Literal

import chromadb
import numpy as np
import numpy.typing as npt
from attrs import evolve, field, frozen
from dependency_injector import providers

import tenantkb
from benchmarks._results import write_section
from benchmarks._workspace import SCRATCH, machine, neo_workspace
from benchmarks.embedders import COMMENT_BEFORE, END_OF_SENTENCE
from benchmarks.repositories import REPOSITORIES, Repository, from_debian
from tenantkb.adapters.configuration.settings import (
    EmbedderSettings,
    RetrievalSettings,
    Settings,
    StoreSettings,
)
from tenantkb.adapters.container import Container
from tenantkb.adapters.embedders.registry import load_embedder
from tenantkb.adapters.lexical.postings import made_by
from tenantkb.application.knowledge_base import KnowledgeBase
from tenantkb.application.reading.context import FillContext, FilledContext
from tenantkb.application.reading.ranking import Ranking
from tenantkb.domain import fusion
from tenantkb.domain.context import TenantContext
from tenantkb.domain.embedding import EmbedderProfile
from tenantkb.domain.errors import ConfigurationError
from tenantkb.domain.fusion import Hit, Question
from tenantkb.domain.natures import is_change_log, is_documentation, is_test_path
from tenantkb.domain.passages import tokens_of
from tenantkb.domain.paths import RootKind
from tenantkb.ports.embedding import Embedder, Vectors

FOLDER: Final = SCRATCH / "quality"
QUESTIONS: Final = Path(__file__).with_name("quality_questions.toml")

COMMENTS, SECTIONS, CHANGES, NAMES, ASKED = "comments", "sections", "changes", "names", "questions"
KINDS: Final = (COMMENTS, SECTIONS, CHANGES, NAMES, ASKED)
MEASURES: Final = (
    "nDCG@10", "recall@1", "recall@5", "recall@10", "MRR", "context", "tests", "one file",
)  # fmt: skip

DEPTH: Final = 100
"""Ranks that are looked at."""
FIRST: Final = 10
"""Answers of a page."""
TOKENS: Final = 4_000
_HEAD: Final = 20
"""Tokens of the line above a passage, about."""
_LEAST: Final = 50
"""Tokens of the shortest part of a passage."""

ALIKE: Final = 10
"""Sentences of a kind that begin with the same three words, at most: some are made by templates."""
FEWEST: Final = 5
"""Questions of a kind, below which a corpus has no figure for it."""
RESAMPLES: Final = 1_000
SEED: Final = 7
WEIGHTS: Final = tuple(step / 20 for step in range(21))
PER_FILES: Final = (2, 3, 4, 5, FIRST)
MINILM_WEIGHT: Final = 0.5
"""What :class:`RetrievalSettings` advises."""
_TENANT: Final = "quality"

Chunk = dict[str, Any]
_KEPT: Final = frozenset(
    {"type", "kind", "name", "content", "description", "source", "line_start", "line_end",
     "className", "extends"}
)  # fmt: skip
_CODE: Final = frozenset({".py", ".java", ".go", ".rs", ".mjs", ".js"})
_DOCUMENTS: Final = frozenset({"doc", "guide", "concept", "skill", "adr"})


# Corpora


@frozen
class Corpus:
    """A repository that is asked about.

    Attributes:
        name: Short, also the key of its questions.
        language: What most of it is written in.
        unpack: Fetches it, unless it is there, and tells its folder.
        settings: How it is read.
    """

    name: str
    language: str
    unpack: Callable[[], Path]
    settings: Settings


def _unpacked(repository: Repository) -> Path:
    repository.unpack()
    return repository.workspace


def _by_syntax(*excluded: str) -> Settings:
    return Settings(
        use_default_sources=False,
        code_source=True,
        root_kind="bare-repo",
        source_paths={"CodeSource": {"excludePaths": list(excluded)}},
        workers=1,
    )


_CARGO: Final = Repository(
    "rust-team",
    "cargo",
    from_debian("c/cargo/cargo_0.66.0+ds1.orig.tar.gz"),
    "a34dfd2d662a00e426351cde058d3bec039a6b751f7e9a31805e9fe000a98014",
    "is a crate compiled again",
    "calculate",
)
_DJANGO, _COMMONS_LANG, _FZF = REPOSITORIES

CORPORA: Final = (
    Corpus(
        "django",
        "Python",
        partial(_unpacked, _DJANGO),
        _by_syntax("locale/", "static/", "/django/contrib/gis/", "/js_tests/", "/tests/[d-z]*/"),
    ),
    Corpus("commons-lang", "Java", partial(_unpacked, _COMMONS_LANG), _by_syntax()),
    Corpus("fzf", "Go", partial(_unpacked, _FZF), _by_syntax()),
    Corpus("cargo", "Rust", partial(_unpacked, _CARGO), _by_syntax("/src/doc/man/", "/src/etc/")),
    Corpus("neo", "JavaScript", neo_workspace, Settings(workers=1)),
)


def extracted(corpus: Corpus, *, anew: bool = False) -> list[Chunk]:
    """The chunks of a corpus, each once, as a synchronisation would store them."""
    cut = _drawn(str(sorted(corpus.settings.source_paths.items())))[:8]
    file = FOLDER / f"{corpus.name}-{cut}.jsonl"
    if anew or not file.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(".part")
        with (
            tenantkb.open(corpus.settings) as knowledge,
            draft.open("w", encoding="utf-8", newline="\n") as out,
        ):
            knowledge.create(corpus.unpack(), out)
        draft.rename(file)
    return distinct(json.loads(line) for line in file.open(encoding="utf-8"))


def distinct(lines: Iterable[Chunk]) -> list[Chunk]:
    """What makes an extracted chunk's row, without those that would be the same row."""
    chunks: dict[tuple[str, ...], Chunk] = {}
    for line in lines:
        key = tuple(str(line[name]) for name in ("type", "kind", "name", "source", "content"))
        kept = {name: line[name] for name in line if name in _KEPT}
        chunks.setdefault(key, {**kept, "name": str(line["name"])})  # front matter may say 42
    return list(chunks.values())


# Questions with known answers


@frozen
class Draft:
    """A question before what would give it away is taken out.

    Attributes:
        text: The question.
        targets: Places of the chunks that answer it.
        sentence: As the repository has it, to be taken out wherever it is; ``""`` for none.
        contents: Contents that take the place of others, by the chunk's place.
        spread: Whether the sentence may stand in other chunks than the targets before.
    """

    text: str
    targets: frozenset[int]
    sentence: str = ""
    contents: Mapping[int, str] = field(factory=dict)
    spread: bool = False


@frozen
class KnownItem:
    """A question and the places of the chunks that answer it."""

    kind: str
    text: str
    targets: frozenset[int]

    @property
    def is_for_tuning(self) -> bool:
        """In which half it is."""
        return int(_drawn(f"{self.kind}: {self.text}"), 16) % 2 == 0


@frozen
class Prepared:
    """A corpus as it is stored, and what is asked about it."""

    name: str
    chunks: Sequence[Chunk]
    items: Sequence[KnownItem]

    @property
    def digest(self) -> str:
        """Of what is stored."""
        lines = (json.dumps(chunk, sort_keys=True) for chunk in self.chunks)
        return sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def _drawn(text: str) -> str:
    """Puts texts in an order that is the same in every run and has nothing to do with them."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def is_test(chunk: Chunk) -> bool:
    """Whether a chunk tries other code."""
    return chunk["type"] == "test" or is_test_path(chunk["source"])


def symbol_of(chunk: Chunk) -> str:
    """The last part of a chunk's name: a function, a class, or a heading."""
    name: str = chunk["name"].removeprefix(f"{chunk['source']} - ").removesuffix("()")
    if chunk["type"] in _DOCUMENTS:
        return name.rpartition(" > ")[2]
    return name.rpartition(".")[2]


def class_of(chunk: Chunk) -> str:
    """The last part of the name of a chunk's class; empty for none."""
    return str(chunk.get("className") or "").rpartition(".")[2]


_WORD: Final = re.compile(r"\w+")


def words(text: str) -> str:
    """The words of a text, each between two spaces: what sentences are looked for in."""
    return f" {' '.join(_WORD.findall(text.lower()))} "


def _all_words(chunk: Chunk) -> str:
    return words(f"{chunk.get('description') or ''}\n{chunk['content']}")


def without(text: str, sentence: str) -> str:
    """A text less a sentence, however that is broken into lines or indented there."""
    between = r"\W+".join(map(re.escape, _WORD.findall(sentence)))
    return re.sub(rf"(?i)\b{between}\b[.!?:;]*", "", text)


_COMMENT: Final = re.compile(
    r"\A(?P<before>(?:\s*#\[[^\n]*\]\n)*)"
    r"(?P<comment>\s*/\*\*.*?\*/[ \t]*\n|(?:[ \t]*//[^\n]*\n)+)",
    re.DOTALL,
)
_MARKS: Final = re.compile(r"(?m)^[ \t]*(?:/\*\*+|\*+/|\*|//[/!]?)[ \t]?|\*/")


def documentation(chunk: Chunk) -> tuple[str, str]:
    """What documents a function within its chunk, without marks, and the chunk without that.

    Both are ``""`` and the content itself where there is none.
    """
    content: str = chunk["content"]
    if chunk["source"].endswith(".py"):
        return _docstring(content)
    if (match := _COMMENT.match(content)) is None:
        return "", content
    return _MARKS.sub("", match["comment"]).strip(), match["before"] + content[match.end() :]


def _docstring(content: str) -> tuple[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(content))
    except SyntaxError:  # a part of a function
        return "", content
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        text = ast.get_docstring(node)
        if not text:
            return "", content
        string, lines = node.body[0], content.split("\n")
        del lines[string.lineno - 1 : string.end_lineno]
        return text, "\n".join(lines)
    return "", content


_ROLE: Final = re.compile(r":[a-z:+-]+:`(?:[^`<]*<)?(?P<short>[~.]*)(?P<target>[^`>]*)>?`")
_TITLED_ROLE: Final = re.compile(r":[a-z:+-]+:`(?P<title>[^`<]+?)\s*<[^`>]*>`")
_LINK: Final = re.compile(r"\[(?P<title>[^\]\[]+)\]\([^)\s]*\)")
_TAG: Final = re.compile(r"</?(?!http)[a-z][^>]*>", re.IGNORECASE)
_INLINE_TAG: Final = re.compile(r"\{@\w+\s*(?P<text>[^}]*)\}")


def plain(text: str) -> str:
    """A sentence as a page shows it: without roles, links and tags, in one line."""
    text = _INLINE_TAG.sub(lambda match: match["text"].rpartition("#")[2], text)
    text = _TITLED_ROLE.sub(lambda match: match["title"], text)
    text = _ROLE.sub(
        lambda match: (
            match["target"].rpartition(".")[2] if "~" in match["short"] else match["target"]
        ),
        text,
    )
    text = _LINK.sub(lambda match: match["title"], text)
    return " ".join(_TAG.sub(" ", text).replace("``", "`").split())


def _first_sentence(text: str) -> str:
    return END_OF_SENTENCE.split(text.strip(), maxsplit=1)[0].strip()


def comments(chunks: Sequence[Chunk], root: Path) -> Iterator[Draft]:
    """Functions by what documents them: in the chunk, or in the file right before it."""

    @cache
    def lines(source: str) -> list[str]:
        return (root / source).read_text("utf-8", errors="replace").split("\n")

    def above(chunk: Chunk) -> str:
        before = lines(chunk["source"])[: chunk.get("line_start", 1) - 1]
        match = COMMENT_BEFORE.search("\n".join(before[-60:]))
        return "" if match is None else _MARKS.sub("", match[1]).strip()

    namesakes: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, chunk in enumerate(chunks):
        if chunk["kind"] in ("function", "method") and Path(chunk["source"]).suffix in _CODE:
            namesakes[chunk["source"], chunk["name"]].append(place)
    for places in namesakes.values():
        if is_test(chunks[places[0]]):
            continue
        parts = {place: documentation(chunks[place]) for place in places}
        for place, (text, _) in parts.items():
            sentence = _first_sentence(text or above(chunks[place]))
            asked = plain(sentence)
            first, _, rest = asked.partition(" ")
            asked = rest if first.strip("`") == symbol_of(chunks[place]) else asked
            if 4 <= len(asked.split()) <= 40 and asked[0].isalpha():
                contents = {place: rest for place, (_, rest) in parts.items()}
                yield Draft(asked, frozenset(places), sentence, contents)


_HEADING: Final = re.compile(
    r"\A\s*(?:#{1,6} [^\n]*\n|[^\n]+\n(?P<line>[=~^\"'.#*+-])(?P=line)+[ \t]*\n)"
)
_PROSE: Final = re.compile(
    r"(?:[A-Z\"]|`(?!`))(?!.*(?:[=~^#-]{4}|[|{}]|\b(?:e\.g|i\.e)\.\Z))", re.DOTALL
)


def sections(chunks: Sequence[Chunk]) -> Iterator[Draft]:
    """Sections by their first sentence, where prose follows the heading and something else that."""
    for place, chunk in enumerate(chunks):
        source, content = chunk["source"], chunk["content"]
        if chunk["type"] not in _DOCUMENTS or is_test(chunk) or _tells_changes(source):
            continue
        body = content[match.end() :] if (match := _HEADING.match(content)) else ""
        paragraph = body.strip().partition("\n\n")[0]
        sentence = _first_sentence(paragraph)
        asked = plain(sentence)
        if (
            6 <= len(asked.split()) <= 40
            and _PROSE.match(sentence)
            and len(without(body, sentence).strip()) >= 100
        ):
            yield Draft(asked, frozenset({place}), sentence)


_RELEASES: Final = re.compile(r"(?i)(?:^|/)releases/|release-notes")


def _tells_changes(source: str) -> bool:
    return is_change_log(source) or (is_documentation(source) and bool(_RELEASES.search(source)))


_ENTRY: Final = re.compile(
    r"(?ms)^[ \t]*(?:[*o-]) +(?P<text>\S.*?)(?=\n[ \t]*\n|\n[ \t]*(?:[*o-]) |\Z)"
)
_CREDITS: Final = re.compile(r"(?s)\s*Thanks\s+to\b.*|\s*\[#\d+\].*")
_ISSUE: Final = re.compile(r"\A(?:[A-Z]+-\d+:?|\[[A-Z]+-\d+\])?[\s-]*")
_NAME: Final = re.compile(r"[A-Za-z_$][\w$]*(?:\.[A-Za-z_$][\w$]*)*")
_COMPOUND: Final = re.compile(r"[a-z][A-Z]|[A-Z]{2}[a-z]|[A-Za-z]_[A-Za-z]")


def changes(chunks: Sequence[Chunk]) -> Iterator[Draft]:
    """Files by the entries of change logs that name them, or what is defined in no other file."""
    homes: dict[str, set[str]] = defaultdict(set)
    of_file: dict[str, set[int]] = defaultdict(set)
    for place, chunk in enumerate(chunks):
        source = chunk["source"]
        of_file[source].add(place)
        if Path(source).suffix in _CODE and not is_test(chunk):
            homes[source.rpartition("/")[2]].add(source)
            for name in {symbol_of(chunk), class_of(chunk)}:
                homes[name].add(source)

    def named(text: str) -> Iterator[str]:
        for match in _NAME.finditer(text):
            marked = "." in match[0] or text[match.start() - 1 : match.start()] == "`"
            for name in {match[0], *match[0].split(".")}:
                is_name = _COMPOUND.search(name) or (marked and (name[0].isupper() or "." in name))
                if is_name and len(homes.get(name, ())) == 1:
                    yield from homes[name]

    for chunk in chunks:
        if not _tells_changes(chunk["source"]):
            continue
        for entry in _ENTRY.finditer(chunk["content"]):
            sentence = _CREDITS.sub("", _ISSUE.sub("", entry["text"])).strip()
            asked = plain(sentence)
            files = set(named(asked))
            if files and 4 <= len(asked.split()) <= 60:
                targets = frozenset(chain.from_iterable(of_file[file] for file in files))
                yield Draft(asked, targets, sentence, spread=True)


_IDENTIFIER: Final = re.compile(r"[A-Za-z_]\w{4,}")
_FILES: Final = 3
"""In so many a name may be defined that is asked for: ``get`` or ``Base`` alone find anything."""

Sort = Literal["functions", "classes", "files"]


def names(chunks: Sequence[Chunk], sort: Sort) -> Iterator[Draft]:
    """Functions, classes or files by name: most as spelt, others as somebody types them."""
    found: dict[str, set[int]] = defaultdict(set)
    files: dict[str, set[str]] = defaultdict(set)
    for place, chunk in enumerate(chunks):
        source = chunk["source"]
        for name in _names(chunk, sort):
            found[name].add(place)
            if not is_test(chunk) and Path(source).suffix in _CODE:
                files[name].add(source)
    for name, sources in files.items():
        if len(sources) <= _FILES and (sort != "functions" or _COMPOUND.search(name.strip("_"))):
            yield Draft(_typed(name, sort), frozenset(found[name]))


def _names(chunk: Chunk, sort: Sort) -> Iterator[str]:
    if sort == "files":
        yield chunk["source"].rpartition("/")[2]
        return
    is_function = chunk["kind"] in ("function", "method")
    name = symbol_of(chunk) if sort == "functions" else class_of(chunk)
    if (is_function or sort == "classes") and _IDENTIFIER.fullmatch(name):
        yield name


def _typed(name: str, sort: Sort) -> str:
    """A name in one of three spellings, by hash; most often its own."""
    draw = int(_drawn(name), 16) % 10
    if draw < 6:
        return name
    if sort != "functions":
        return name.lower()
    if draw < 8:
        return name.replace("_", "").lower()
    if "_" in name.strip("_"):
        first, *others = name.strip("_").split("_")
        return first.lower() + "".join(part.capitalize() for part in others)
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def asked_by_hand(chunks: Sequence[Chunk], name: str) -> Iterator[Draft]:
    """The questions of the file.

    Raises:
        SystemExit: an answer is not in the corpus.
    """
    for entry in tomllib.loads(QUESTIONS.read_text("utf-8"))[name]:
        targets: set[int] = set()
        for answer in entry["answers"]:
            path, _, symbol = answer.partition("#")
            places = {
                place
                for place, chunk in enumerate(chunks)
                if chunk["source"] == path
                and (not symbol or symbol in (symbol_of(chunk), class_of(chunk)))
            }
            if not places:
                raise SystemExit(f"{name} has no {answer}")
            targets |= places
        yield Draft(entry["question"], frozenset(targets))


def prepared(
    name: str,
    chunks: Sequence[Chunk],
    drafts: Iterable[tuple[str, Iterable[Draft], int]],
    *,
    lenient: bool = False,
) -> Prepared:
    """Choose among the drafts, and take out of the chunks what would give them away.

    Args:
        name: Of the corpus.
        chunks: Of it.
        drafts: Kind, drafts and how many of them are wanted; what an earlier kind asks for is not
            changed for a later one.
        lenient: Leave out questions whose sentence is still in a chunk.

    Raises:
        SystemExit: a sentence that is asked is still in a chunk.
    """
    original = [_all_words(chunk) for chunk in chunks]
    everything = "\n".join(original)
    stored = [dict(chunk) for chunk in chunks]
    items: list[KnownItem] = []
    reserved: set[int] = set()
    sentences: dict[str, KnownItem] = {}
    for kind, candidates, wanted in drafts:
        texts: set[str] = set()
        openings: Counter[str] = Counter()
        for draft in sorted(candidates, key=lambda each: _drawn(each.text)):
            if len(texts) == wanted:
                break
            sought = words(draft.sentence)
            places = draft.targets
            if draft.spread:
                places = frozenset(at for at, text in enumerate(original) if sought in text)
            elif draft.sentence and everything.count(sought) > sum(
                original[place].count(sought) for place in places
            ):
                continue  # what is said in two places has no known one
            changed = places if draft.sentence else frozenset()
            if draft.text in texts or not reserved.isdisjoint(changed):
                continue
            opening = " ".join(draft.text.split()[:3])
            if draft.sentence and openings[opening] == ALIKE:
                continue
            openings[opening] += 1
            texts.add(draft.text)
            items.append(KnownItem(kind, draft.text, draft.targets))
            if draft.sentence:
                sentences[sought] = items[-1]
            for place in changed:
                chunk = stored[place]
                _replace(
                    chunk, without(draft.contents.get(place, chunk["content"]), draft.sentence)
                )
                if "description" in chunk:
                    chunk["description"] = without(chunk["description"], draft.sentence)
        if kind == ASKED:
            reserved = set().union(*(item.targets for item in items))
    left = "\n".join(map(_all_words, stored))
    for sentence, item in sentences.items():
        if sentence not in left:
            continue
        if not lenient:
            raise SystemExit(f"{name}: still stored: {sentence.strip()}")
        items.remove(item)
    return Prepared(name, stored, items)


def _replace(chunk: Chunk, content: str) -> None:
    """Give a chunk less text, and as many lines fewer."""
    if content != chunk["content"] and "line_end" in chunk:
        chunk["line_end"] = chunk["line_start"] + content.count("\n")
    chunk["content"] = content


def drawn_from(corpus: Corpus, chunks: Sequence[Chunk], *, lenient: bool = False) -> Prepared:
    """A corpus with all of its questions, see :func:`prepared`."""
    root = corpus.unpack()
    return prepared(
        corpus.name,
        chunks,
        (
            (ASKED, asked_by_hand(chunks, corpus.name), 100),
            (COMMENTS, comments(chunks, root), 100),
            (SECTIONS, sections(chunks), 100),
            (CHANGES, changes(chunks), 50),
            (NAMES, names(chunks, "functions"), 50),
            (NAMES, names(chunks, "classes"), 30),
            (NAMES, names(chunks, "files"), 20),
        ),
        lenient=lenient,
    )


def sampled(corpus: Prepared, least: int) -> Prepared:
    """The files that have answers and, by hash, as many others as are needed for so many chunks."""
    answers = {corpus.chunks[place]["source"] for item in corpus.items for place in item.targets}
    files: dict[str, list[int]] = defaultdict(list)
    for place, chunk in enumerate(corpus.chunks):
        files[chunk["source"]].append(place)
    kept: list[int] = []
    for source in sorted(files, key=lambda each: (each not in answers, _drawn(each))):
        if source not in answers and len(kept) >= least:
            break
        kept += files[source]
    kept.sort()
    moved = {place: new for new, place in enumerate(kept)}
    items = [
        evolve(item, targets=frozenset(moved[place] for place in item.targets))
        for item in corpus.items
    ]
    return Prepared(corpus.name, [corpus.chunks[place] for place in kept], items)


# Systems


@frozen
class Remembered:
    """An embedder that embeds a text once: systems share texts, and another run has them too."""

    embedder: Embedder

    @property
    def profile(self) -> EmbedderProfile:
        """Of the embedder."""
        return self.embedder.profile

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See :meth:`ports.embedding.Embedder.embed`."""
        keys = [
            sha256(f"{self.profile.name}\0{text}".encode("utf-8", "surrogatepass")).digest()
            for text in texts
        ]
        with closing(sqlite3.connect(FOLDER / "vectors.sqlite")) as file:
            file.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB)")
            found: dict[bytes, bytes] = {}
            for key in keys:
                found.update(file.execute("SELECT * FROM vectors WHERE key = ?", (key,)))
            missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
            if missing:
                vectors = self.embedder.embed(list(missing.values()))
                new = {key: vector.tobytes() for key, vector in zip(missing, vectors, strict=True)}
                with file:
                    file.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", new.items())
                found.update(new)
        return np.array([np.frombuffer(found[key], np.float32) for key in keys])


@frozen
class Found:
    """What a system finds for a question.

    Attributes:
        places: Of the chunks, best first, at most :data:`DEPTH`.
        in_context: Whether an answer is in the context that the system fills itself; ``None`` where
            it fills none.
    """

    places: Sequence[int]
    in_context: bool | None = None


@frozen
class Store:
    """A corpus in a store, which is open."""

    knowledge: KnowledgeBase
    ranking: Ranking
    context: TenantContext

    def hits(self, text: str) -> Sequence[Hit]:
        """All candidates of a question, best first.

        Raises:
            SystemExit: there is none, as in a store that another revision of this project has made.
        """
        hits = self.ranking(self.context, text).hits
        if not hits:
            raise SystemExit(f"a store finds nothing at all; remove {FOLDER} and try again")
        return hits

    def found(self, item: KnownItem) -> dict[str, Found]:
        """What each arm, both and the whole find."""
        hits = self.hits(item.text)
        filled = self.knowledge.context(self.context, item.text, tokens=TOKENS)

        def ordered(score: Callable[[Hit], float]) -> Found:
            best = sorted(hits, key=lambda hit: (-score(hit), hit.row.key.id))
            return Found([_place(hit) for hit in best[:DEPTH]])

        return {
            "cosine": ordered(lambda hit: hit.candidate.cosine),
            "BM25": ordered(lambda hit: hit.candidate.bm25),
            "weighted": ordered(lambda hit: hit.vector + hit.lexical),
            "default": Found(paged(hits), _answered(filled, hits, item)),
        }

    def tuned(self, item: KnownItem) -> list[float]:
        """nDCG@10 with each of :data:`WEIGHTS`."""
        question = Question.of(item.text)
        candidates = [hit.candidate for hit in self.hits(item.text)]
        return [
            gain(rank_of(paged(fusion.ranked(question, candidates, vector_weight=weight)), item))
            for weight in WEIGHTS
        ]

    def crowded(self, item: KnownItem, per_file: int) -> Found:
        """What the whole finds with so many answers of one file."""
        hits = self.hits(item.text)
        filled = FillContext(self.ranking, per_file)(self.context, item.text, tokens=TOKENS)
        return Found(paged(hits, per_file), _answered(filled, hits, item))


def _answered(filled: FilledContext, hits: Sequence[Hit], item: KnownItem) -> bool:
    """Whether a chunk that answers a question is in a context."""
    places = {hit.row.id: _place(hit) for hit in hits}
    cited = chain.from_iterable(citation.documents for citation in filled.citations)
    return any(places[document.id] in item.targets for document in cited)


def _place(hit: Hit) -> int:
    place = hit.row.fields["place"]
    assert isinstance(place, int)
    return place


def paged(hits: Iterable[Hit], per_file: int = fusion.PER_FILE) -> list[int]:
    """The places of the first pages, as a reader turns them."""
    pages = islice(fusion.pages(hits, FIRST, per_file=per_file), DEPTH // FIRST)
    return [_place(hit) for page in pages for hit in page]


def store_in(container: Container, corpus: Prepared) -> Store:
    """Write a corpus, where it is not stored yet; each row remembers the place of its chunk."""
    knowledge: KnowledgeBase = container.knowledge_base()
    context = knowledge.authenticate(tenant_id=_TENANT)
    request = tenantkb.EmbedRequest(corpus.name, root_kind=RootKind.BARE_REPO)
    lines = ({**chunk, "place": place} for place, chunk in enumerate(corpus.chunks))
    knowledge.embed(context, request, enumerate(lines, 1))
    return Store(knowledge, container.ranking(), context)


@contextmanager
def opened(corpus: Prepared, kind: str, embedder: Embedder) -> Iterator[Store]:
    """The corpus in a store of its own, which is filled unless it holds just that."""
    key = f"{corpus.digest} {embedder.profile.name} {made_by()}"
    folder = FOLDER / f"{corpus.name}-{kind}-{_drawn(key)[:12]}"
    weight = MINILM_WEIGHT if kind == "minilm" else fusion.VECTOR_WEIGHT
    settings = Settings(
        store=StoreSettings(path=folder),
        embedder=EmbedderSettings(kind=kind),
        retrieval=RetrievalSettings(vector_weight=weight),
    )
    mark = folder / "complete"
    if not mark.exists():
        shutil.rmtree(folder, ignore_errors=True)
    container = Container(settings=settings)
    container.embedder.override(providers.Object(embedder))
    with container.knowledge_base() as knowledge:
        if mark.exists():
            context = knowledge.authenticate(tenant_id=_TENANT)
            yield Store(knowledge, container.ranking(), context)
            return
        store = store_in(container, corpus)
        mark.touch()
        yield store


@frozen
class Chroma:
    """A corpus in a collection of Chroma alone."""

    collection: chromadb.Collection
    embedder: Embedder

    @classmethod
    def of(cls, corpus: Prepared, embedder: Embedder) -> Chroma:
        """Open it, and fill it unless it holds just that."""
        key = _drawn(f"{corpus.digest} {embedder.profile.name}")[:32]
        collection = chromadb.PersistentClient(str(FOLDER / "chroma")).get_or_create_collection(
            f"{corpus.name}-{key}",
            configuration={"hnsw": {"space": "cosine"}},
            embedding_function=None,
        )
        for start in range(collection.count(), len(corpus.chunks), 256):
            batch = [str(chunk["content"]) for chunk in corpus.chunks[start : start + 256]]
            collection.add(
                [str(start + number) for number in range(len(batch))],
                embeddings=embedder.embed(batch),
            )
        return cls(collection, embedder)

    def found(self, item: KnownItem) -> Found:
        """The nearest."""
        answer = self.collection.query(self.embedder.embed([item.text]), n_results=DEPTH)
        return Found([int(place) for place in answer["ids"][0]])


# Measures

Figures = npt.NDArray[np.float64]


def rank_of(places: Sequence[int], item: KnownItem) -> int | None:
    """The rank of the first answer, from 1; ``None`` where there is none."""
    ranks = (rank for rank, place in enumerate(places, 1) if place in item.targets)
    return next(ranks, None)


def gain(rank: int | None) -> float:
    """nDCG@10 of a question whose first answer has this rank."""
    return float(1 / np.log2(1 + rank)) if rank is not None and rank <= FIRST else 0.0


def judged(found: Found, item: KnownItem, chunks: Sequence[Chunk]) -> list[float]:
    """All of :data:`MEASURES` for one question."""
    rank = rank_of(found.places, item)
    first = [chunks[place] for place in found.places[:FIRST]]
    in_context = found.in_context
    if in_context is None:
        in_context = rank is not None and _is_reached(found.places[: rank - 1], chunks)
    most = max(Counter(chunk["source"] for chunk in first).values(), default=0)
    within = [float(rank is not None and rank <= depth) for depth in (1, 5, 10)]
    return [
        gain(rank),
        *within,
        0.0 if rank is None else 1 / rank,
        float(in_context),
        sum(map(is_test, first)) / max(1, len(first)),
        most / max(1, len(first)),
    ]


def _is_reached(before: Sequence[int], chunks: Sequence[Chunk]) -> bool:
    """Whether there is room in a context for a part of the chunk that follows these."""
    taken = sum(tokens_of(chunks[place]["content"]) + _HEAD for place in before)
    return taken + _LEAST <= TOKENS


def estimated(groups: Sequence[Sequence[Figures]]) -> tuple[float, float, float]:
    """The mean of the groups' means, a group's being that of its strata, and its 95% interval.

    Args:
        groups: Of strata, each the values of some questions, shape ``(questions,)``.
    """
    random = np.random.default_rng(SEED)
    mean, means = 0.0, np.zeros(RESAMPLES)
    for strata in groups:
        for values in strata:
            weight = 1 / len(strata) / len(groups)
            drawn = random.integers(len(values), size=(RESAMPLES, len(values)))
            means += values[drawn].mean(axis=1) * weight
            mean += float(values.mean()) * weight
    low, high = np.percentile(means, (2.5, 97.5))
    return mean, float(low), float(high)


Results = Mapping[tuple[str, str, str], Figures]
"""By corpus, kind and system: shape ``(questions, measures)``."""


def table(results: Results, measure: str, kinds: Sequence[str]) -> list[str]:
    """A table in Markdown: a line for each corpus and one for their mean, a column a system."""
    column = MEASURES.index(measure)
    systems = list(dict.fromkeys(system for _, _, system in results))
    corpora = list(dict.fromkeys(corpus for corpus, _, _ in results))

    def strata(corpus: str, system: str) -> list[Figures]:
        every = (results.get((corpus, kind, system)) for kind in kinds)
        return [figures[:, column] for figures in every if figures is not None]

    def cell(corpora: Sequence[str], system: str) -> str:
        mean, low, high = estimated([strata(corpus, system) for corpus in corpora])
        return f"{mean:.3f} [{low:.2f}, {high:.2f}]"

    lines = [f"| | questions | {' | '.join(systems)} |", "|---" * (len(systems) + 2) + "|"]
    having = [corpus for corpus in corpora if strata(corpus, systems[0])]
    for corpus in corpora:
        if corpus not in having:
            lines.append(f"| {corpus} | too few |" + " – |" * len(systems))
            continue
        count = sum(map(len, strata(corpus, systems[0])))
        cells = (cell([corpus], system) for system in systems)
        lines.append(f"| {corpus} | {count} | {' | '.join(cells)} |")
    if len(having) > 1:
        cells = (cell(having, system) for system in systems)
        lines.append(f"| mean | | {' | '.join(cells)} |")
    return lines


# The command


def measured(
    corpus: Prepared, items: Sequence[KnownItem], embedders: Mapping[str, Embedder], losses: int
) -> Iterator[tuple[str, str, Figures]]:
    """Kind, system and figures of each, for one corpus."""
    found: dict[str, list[Found]] = defaultdict(list)
    for kind, embedder in embedders.items():
        with opened(corpus, kind, embedder) as store:
            for item in items:
                for system, answer in store.found(item).items():
                    if kind == "wordllama" or system != "BM25":  # the same words
                        found[system if kind == "wordllama" else f"{system}, {kind}"].append(answer)
    if "minilm" in embedders:
        alone = Chroma.of(corpus, embedders["minilm"])
        found["Chroma, minilm"] = [alone.found(item) for item in items]
    kinds = np.array([item.kind for item in items])
    for system, answers in found.items():
        figures = np.array(
            [
                judged(answer, item, corpus.chunks)
                for answer, item in zip(answers, items, strict=True)
            ]
        )
        for kind in KINDS:
            if np.count_nonzero(kinds == kind) >= FEWEST:
                yield kind, system, figures[kinds == kind]
    if losses:
        _show_losses(corpus, items, found, losses)


def _show_losses(
    corpus: Prepared, items: Sequence[KnownItem], found: Mapping[str, Sequence[Found]], most: int
) -> None:
    """Print questions that an arm alone answers better than the whole, the worst first."""
    for kind in KINDS:
        lost = []
        for place, item in enumerate(items):
            ranks = {
                system: rank_of(answers[place].places, item) for system, answers in found.items()
            }
            arm = max(("cosine", "BM25"), key=lambda system: gain(ranks[system]))
            loss = gain(ranks[arm]) - gain(ranks["default"])
            if item.kind == kind and loss > 0:
                best = [corpus.chunks[at] for at in found["default"][place].places[:3]]
                shown = "; ".join(f"{each['source']} {each['name']}" for each in best)
                targets = [corpus.chunks[at] for at in sorted(item.targets)[:1]]
                known = "; ".join(f"{each['source']} {each['name']}" for each in targets)
                lost.append((loss, f"{arm} {ranks} {item.text!r}\n    known: {known}\n    {shown}"))
        print(f"\n{corpus.name}, {kind}: {len(lost)} lost")
        for _, line in sorted(lost, reverse=True)[:most]:
            print(f"  {line}")


def tuned(corpora: Sequence[Prepared], embedders: Mapping[str, Embedder], chosen: Chosen) -> str:
    """nDCG@10 of the tuning half by weight: the mean of the kinds, by corpus and of all."""
    lines = []
    for kind, embedder in embedders.items():
        columns = []
        for corpus in corpora:
            items = [item for item in chosen(corpus) if item.is_for_tuning]
            with opened(corpus, kind, embedder) as store:
                gains = np.array([store.tuned(item) for item in items])
            kinds = np.array([item.kind for item in items])
            columns.append(
                np.mean(
                    [
                        gains[kinds == each].mean(axis=0)
                        for each in KINDS
                        if np.count_nonzero(kinds == each) >= FEWEST
                    ],
                    axis=0,
                )
            )
        names = [corpus.name for corpus in corpora]
        lines += ["", f"| weight, {kind} | {' | '.join(names)} | mean |"]
        lines += ["|---" * (len(names) + 2) + "|"]
        for at, weight in enumerate(WEIGHTS):
            values = [column[at] for column in columns]
            cells = [f"{value:.3f}" for value in [*values, np.mean(values)]]
            lines.append(f"| {weight:.2f} | {' | '.join(cells)} |")
        means = np.mean(columns, axis=0)
        lines += ["", f"Best with {kind}: {WEIGHTS[int(np.argmax(means))]:.2f}."]
    return "\n".join(lines)


def crowded(
    corpora: Sequence[Prepared], embedders: Mapping[str, Embedder], chosen: Chosen
) -> Iterator[str]:
    """Measures of the tuning half by how many answers of a page may be of one file."""
    for kind, embedder in embedders.items():
        results: dict[tuple[str, str, str], Figures] = {}
        for corpus in corpora:
            items = [item for item in chosen(corpus) if item.is_for_tuning]
            kinds = np.array([item.kind for item in items])
            with opened(corpus, kind, embedder) as store:
                for number in PER_FILES:
                    found = (
                        judged(store.crowded(item, number), item, corpus.chunks) for item in items
                    )
                    figures = np.array(list(found))
                    for each in KINDS:
                        if np.count_nonzero(kinds == each) >= FEWEST:
                            results[corpus.name, each, str(number)] = figures[kinds == each]
        for measure in ("nDCG@10", "recall@10", "context", "one file"):
            yield f"\n{measure} by answers from one file, {kind}\n"
            yield from table(results, measure, KINDS)


Chosen = Callable[[Prepared], Sequence[KnownItem]]


def available() -> dict[str, Embedder]:
    """The embedders that are installed, by kind."""
    found: dict[str, Embedder] = {}
    for kind in ("wordllama", "minilm"):
        try:
            embedder = load_embedder(EmbedderSettings(kind=kind))
            found[kind] = Remembered(embedder) if kind == "minilm" else embedder
        except ConfigurationError as error:
            print(f"without {kind}: {error}")
    return found


def report(results: Results, kinds: Sequence[str], *, every: bool) -> str:
    """The tables: every kind's nDCG@10, and the mean of the kinds by every measure.

    Args:
        results: The figures.
        kinds: Which there are.
        every: Whether every measure is shown of every kind.
    """
    lines = []
    for measure in MEASURES:
        lines += ["", f"### {measure}, mean of the kinds", "", *table(results, measure, kinds)]
        if every or measure == MEASURES[0]:
            for kind in kinds:
                lines += ["", f"### {measure}, {kind}", "", *table(results, measure, [kind])]
    return "\n".join(lines).strip()


def main() -> None:
    """Measure, print, and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    by_name = {corpus.name: corpus for corpus in CORPORA}
    parser.add_argument("--corpora", nargs="+", choices=by_name, default=list(by_name))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--limit", type=int, help="questions of a kind in a half, at most")
    parser.add_argument("--embedders", nargs="+", help="by default those that are installed")
    parser.add_argument("--sample", type=int, metavar="CHUNKS", help="reduce larger corpora")
    parser.add_argument(
        "--tune",
        nargs="?",
        const="weights",
        choices=("weights", "per-file"),
        help="print figures to choose weights by instead, or answers from one file",
    )
    parser.add_argument("--every", action="store_true", help="every measure of every kind")
    parser.add_argument("--losses", type=int, default=0, help="show so many of a kind")
    parser.add_argument("--extract", action="store_true", help="extract anew")
    parser.add_argument("--no-write", action="store_true", help="leave RESULTS.md as it is")
    options = parser.parse_args()
    embedders = available()
    if options.embedders:
        embedders = {kind: embedders[kind] for kind in options.embedders}

    def chosen(corpus: Prepared) -> list[KnownItem]:
        counted: Counter[tuple[str, bool]] = Counter()
        taken = []
        for item in corpus.items:
            counted[item.kind, item.is_for_tuning] += 1
            within = (
                options.limit is None or counted[item.kind, item.is_for_tuning] <= options.limit
            )
            if item.kind in options.kinds and within:
                taken.append(item)
        return taken

    corpora = [
        drawn_from(by_name[name], extracted(by_name[name], anew=options.extract))
        for name in options.corpora
    ]
    if options.sample:
        corpora = [sampled(corpus, options.sample) for corpus in corpora]
    for corpus in corpora:
        counts = Counter(item.kind for item in corpus.items)
        told = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS)
        print(f"{corpus.name}: {len(corpus.chunks):,} chunks; {told}", flush=True)
    if options.tune == "weights":
        print(tuned(corpora, embedders, chosen))
        return
    if options.tune:
        print("\n".join(crowded(corpora, embedders, chosen)))
        return
    results: dict[tuple[str, str, str], Figures] = {}
    for corpus in corpora:
        items = [item for item in chosen(corpus) if not item.is_for_tuning]
        for kind, system, figures in measured(corpus, items, embedders, options.losses):
            results[corpus.name, kind, system] = figures
    text = report(results, options.kinds, every=options.every)
    print(f"\n{text}")
    if not options.no_write:
        sizes = ", ".join(
            f"{corpus.name} ({by_name[corpus.name].language}, {len(corpus.chunks):,} chunks)"
            for corpus in corpora
        )
        left_out = "" if "minilm" in embedders else " Without MiniLM."
        section, command = "Retrieval quality", "python -m benchmarks.quality"
        if options.sample:
            section, command = f"{section}, samples", f"{command} --sample {options.sample}"
        told = f"`{command}`: {sizes}.{left_out} {machine()}.\n\n"
        write_section(section, told + text)


if __name__ == "__main__":
    main()
