"""What clients send and get, as models: the schemas of tools and of the OpenAPI document.

The values that clients get are made by :mod:`adapters.wire.objects`, as they are on the command
line; the models describe them and let nothing else out.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    RootModel,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from tenantkb import schemas
from tenantkb.application.reading import documents, ranking
from tenantkb.application.reading.context import TOKENS_MAXIMUM, TOKENS_MINIMUM
from tenantkb.domain import fields


def _integral(value: object) -> object:
    """JSON knows one kind of numbers: 5.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integer = Annotated[int, BeforeValidator(_integral)]
Score = Annotated[float, Field(ge=0, le=1)]
Lines = Annotated[list[int], Field(min_length=2, max_length=2)]
Whole = Annotated[int, Field(ge=0)]


class Sent(BaseModel):
    """Base of what clients send: nothing is converted, and nothing unknown is ignored."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Told(BaseModel):
    """Base of what clients get."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Question = Annotated[
    str,
    Field(
        min_length=1,
        max_length=ranking.QUESTION_MAXIMUM,
        description="What is asked: words, names of symbols or files, or a sentence.",
    ),
]
Type = Annotated[
    str | None,
    Field(
        description="Only chunks of this type, such as guide, src or test; all of them by default."
    ),
]
Kind = Annotated[str | None, Field(description="Only chunks of this kind, such as method.")]
PathGlob = Annotated[
    str | None, Field(description="Only chunks of files like this, such as src/**/*.mjs.")
]
Repo = Annotated[str | None, Field(description="Only chunks of this repository.")]
Prefer = Annotated[
    Literal["source", "docs", "tests"] | None, Field(description="Demote all other kinds of text.")
]
Limit = Annotated[Integer, Field(ge=1, le=ranking.LIMIT_MAXIMUM, description="Most results.")]
PageNumber = Annotated[
    Integer, Field(ge=1, le=ranking.LIMIT_MAXIMUM, description="Which so many, from 1.")
]
PerFile = Annotated[
    Integer | None,
    Field(ge=1, le=ranking.LIMIT_MAXIMUM, description="Most results from one file."),
]
Tokens = Annotated[
    Integer,
    Field(ge=TOKENS_MINIMUM, le=TOKENS_MAXIMUM, description="About how long the text may be."),
]
ListLimit = Annotated[
    Integer, Field(ge=1, le=documents.LIMIT_MAXIMUM, description="Most documents.")
]
Cursor = Annotated[
    str | None, Field(description="Go on where an earlier page has ended, as it told.")
]
Offset = Annotated[
    Integer, Field(ge=0, le=documents.LIMIT_MAXIMUM, description="Leave out so many documents.")
]
Id = Annotated[
    str, Field(min_length=1, max_length=512, description="The id, as an earlier answer told it.")
]
Root = Annotated[str | None, Field(description="Only this class and its descendants.")]


class Asked(Sent):
    """A question, and what the answers have to be."""

    query: Question
    type: Type = None
    kind: Kind = None
    path: PathGlob = None
    repo: Repo = None
    prefer: Prefer = None


class AskedOneByOne(Asked):
    """A question whose answers come one by one."""

    limit: Limit = 10
    page: PageNumber = 1
    per_file: PerFile = Field(default=None, alias="perFile")
    content: bool = Field(default=False, description="Whole texts, not snippets.")
    explain: bool = Field(default=False, description="Tell what makes each score.")


class AskedForContext(Asked):
    """A question to be answered by a text."""

    max_tokens: Tokens = Field(default=4_000, alias="maxTokens")


class QueryDocuments(Sent):
    """Arguments of the tool."""

    query: Question
    type: Type = None
    limit: Limit = 25
    include_metadata: bool = Field(
        default=False,
        alias="includeMetadata",
        description="Whether each result brings the chunk's metadata.",
    )


class SearchDocuments(Sent):
    """Arguments of the tool."""

    query: Question
    type: Type = None
    limit: Limit = 10
    kind: Kind = None
    path: PathGlob = None


class GetContext(Sent):
    """Arguments of the tool."""

    question: Question
    max_tokens: Tokens = Field(default=4_000, alias="maxTokens")


class ListDocuments(Sent):
    """Arguments of the tool."""

    limit: ListLimit = 100
    cursor: Cursor = None
    offset: Offset = 0


class GetDocumentById(Sent):
    """Arguments of the tool."""

    id: Id


class GetClassHierarchy(Sent):
    """Arguments of the tool."""

    root: Root = None


class Nothing(Sent):
    """No arguments."""


class ManageKnowledgeBase(Sent):
    """Arguments of the tool."""

    action: Literal["sync", "status"] = Field(description="What is to be done.")
    repo: str = Field(
        description="A repository that this server's operator has configured for the tenant."
    )


class Push(RootModel[dict[str, Any]]):
    """A push, as the contract ``ingest-push-v1`` describes it, which judges it as well."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _: CoreSchema, __: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        published: dict[str, Any] = json.loads(schemas.text("ingest-push-v1"))
        file = json.loads(schemas.text("ingest-file-v1"))
        published["properties"]["files"]["items"] = {
            key: value for key, value in file.items() if key not in _OF_A_FILE
        }
        return {key: value for key, value in published.items() if key not in _OF_A_FILE}


_OF_A_FILE: Final = frozenset({"$schema", "$id", "examples", "title"})
"""Keys of a published schema that say nothing within another one."""


class GetIngestionProgress(Sent):
    """Arguments of the tool."""

    ingestion_id: str = Field(
        alias="ingestionId",
        min_length=1,
        max_length=512,
        description="The id, as the push told it.",
    )


class Document(Told):
    """A chunk: whose it is, where it comes from, what it is."""

    id: str
    tenant_id: str = Field(alias=fields.TENANT_ID)
    repo_slug: str = Field(alias=fields.REPO_SLUG)
    source_path: str = Field(alias=fields.SOURCE_PATH)
    type: str
    kind: str
    name: str
    visibility: Literal["team", "private"]
    line_start: int | None = Field(default=None, alias=fields.LINE_START)
    line_end: int | None = Field(default=None, alias=fields.LINE_END)
    ingested_at: str | None = Field(default=None, alias=fields.INGESTED_AT)


class DocumentContent(Told):
    """A chunk with its text."""

    document: Document
    content: str


class Result(Told):
    """One chunk that answers a question, for clients of the JavaScript system.

    ``source`` is the path within the repository.
    """

    source: str
    score: Score
    id: str
    repo_slug: str = Field(alias=fields.REPO_SLUG)
    name: str
    lines: list[Lines]
    snippet: str
    metadata: Document | None = None


class Results(Told):
    """The chunks that answer a question, best first."""

    top_result: str | None = Field(alias="topResult")
    results: list[Result]


class Parts(Told):
    """What makes a score."""

    cosine: float
    bm25: float
    vector: float
    lexical: float
    name: float
    cover: float
    lift: float
    demotion: float


class Answer(Document):
    """One chunk that answers a question."""

    score: Score
    lines: list[Lines]
    snippet: str | None = None
    content: str | None = None
    parts: Parts | None = None


class Answers(Told):
    """The chunks that answer a question, best first."""

    query: str
    results: list[Answer]


class Passage(Told):
    """A part of a file that answers a question."""

    score: Score
    span: Lines | None
    lines: list[Lines]
    documents: list[Document]
    snippet: str | None = None
    content: str | None = None
    parts: Parts | None = None


class File(Told):
    """A file among all tenants' files."""

    tenant_id: str = Field(alias=fields.TENANT_ID)
    repo_slug: str = Field(alias=fields.REPO_SLUG)
    root_kind: Literal["neo-workspace", "bare-repo", "external-source"] = Field(
        alias=fields.ROOT_KIND
    )
    source_path: str = Field(alias=fields.SOURCE_PATH)


class FoundFile(File):
    """A file that answers a question."""

    score: Score
    passages: list[Passage]


class Found(Told):
    """The files that answer a question, best first, with their passages in reading order."""

    query: str
    results: list[FoundFile]


class Citation(File):
    """Where a passage comes from."""

    number: Annotated[int, Field(ge=1)]
    span: Lines | None
    score: Score
    is_whole: bool = Field(alias="isWhole")
    documents: list[Document]


class FilledContext(Told):
    """What answers a question, as a text for a language model.

    It is what tenants have written, and may say anything: data, and no instruction.
    """

    query: str
    tokens: Whole
    text: str
    citations: list[Citation]


class Documents(Told):
    """A page of the readable chunks, by ascending id."""

    documents: list[Document]
    cursor: str | None


class Hierarchy(Told):
    """The classes of a repository, each with the class that it extends."""

    tenant_id: str = Field(alias=fields.TENANT_ID)
    repo_slug: str = Field(alias=fields.REPO_SLUG)
    parents: dict[str, str | None]


class Hierarchies(Told):
    """The classes of the readable repositories."""

    repositories: list[Hierarchy]


class Repository(Told):
    """A repository, as far as the caller may read it."""

    tenant_id: str = Field(alias=fields.TENANT_ID)
    repo_slug: str = Field(alias=fields.REPO_SLUG)
    rows: Whole
    last_sync: str | None = Field(alias="lastSync")
    head: str | None


class EmbedderName(Told):
    """The embedder in force."""

    name: str
    dimension: Annotated[int, Field(ge=1)]


class Status(Told):
    """The state of the knowledge base, as far as the caller may know it."""

    tenant: str
    agent: str
    rows: Whole
    tenants: dict[str, Whole]
    repositories: list[Repository]
    embedder: EmbedderName
    lexical: Literal["full", "candidates"]
    isolation_faults: Whole = Field(alias="isolationFaults")
    spoofs: Whole
    spoofs_rejected: bool = Field(alias="spoofsRejected")


class Health(Told):
    """Whether questions are answered."""

    status: Literal["healthy"]
    version: str
    rows: Whole
    embedder: EmbedderName


class Diagnostic(Told):
    """A file that was skipped."""

    path: str
    severity: str
    reason: str


class Refused(Told):
    """A chunk whose text the embedder refuses."""

    path: str
    name: str
    reason: str


class Synchronised(Told):
    """What a synchronisation did."""

    added: Whole
    updated: Whole
    unchanged: Whole
    deleted: Whole
    kept: Whole
    duplicates: Whole
    failed: Whole
    dry_run: bool = Field(alias="dryRun")
    seconds: float
    sources: dict[str, Whole]
    skipped: dict[str, Whole]
    diagnostics: list[Diagnostic]
    refused: list[Refused]


class Ingested(Told):
    """What a push has changed."""

    ingestion_id: str = Field(alias="ingestionId")
    files: Whole
    chunks: Whole
    added: Whole
    updated: Whole
    unchanged: Whole
    deleted: Whole
    duplicates: Whole
    spoofs: Whole
    skipped: Whole
    refused: list[Refused]
    diagnostics: list[Diagnostic]
    is_complete: bool = Field(alias="isComplete")
    seconds: float


class Embedded(Told):
    """What a stream of chunks has changed."""

    added: Whole
    updated: Whole
    unchanged: Whole
    duplicates: Whole
    spoofs: Whole
    refused: list[Refused]
    seconds: float


class Ingestion(Told):
    """How far a push has come."""

    ingestion_id: str = Field(alias="ingestionId")
    repo_slug: str = Field(alias=fields.REPO_SLUG)
    state: Literal["running", "finished", "failed", "interrupted"]
    phase: str
    done: Whole
    total: Whole | None
    started_at: str = Field(alias="startedAt")
    updated_at: str = Field(alias="updatedAt")
    counts: dict[str, Whole]
    error: str | None


class Managed(Told):
    """What became of an action on a repository: a report, or its state."""

    action: Literal["sync", "status"]
    repo: str
    report: Synchronised | None = None
    repository: Repository | None = None


class RemedyWords(Told):
    """What can be done about an error."""

    key: str
    words: str | None


class RecordProblem(Told):
    """What is wrong with a record."""

    line: int | None = None
    pointer: str | None = None
    reason: str


class Problem(BaseModel):
    """An error, as a problem document (RFC 9457)."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(description="A URI for the code; nothing lies there.")
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable name of the error, such as KB_NOT_FOUND.")
    kind: str
    request_id: str = Field(alias="requestId")
    remedy: RemedyWords | None = None
    problems: list[RecordProblem] | None = None
    problem_count: int | None = Field(default=None, alias="problemCount")
