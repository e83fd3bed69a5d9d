"""The commands that read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from tenantkb.adapters.cli.session import Session, common_options, console, pass_session
from tenantkb.adapters.wire import objects
from tenantkb.application.reading import documents, ranking
from tenantkb.application.reading.context import TOKENS_MAXIMUM, TOKENS_MINIMUM, FilledContext
from tenantkb.domain.errors import NotFoundError
from tenantkb.domain.ids import ChunkId
from tenantkb.domain.natures import Nature
from tenantkb.domain.records import printable, shown
from tenantkb.domain.rows import Criteria

if TYPE_CHECKING:
    from tenantkb.adapters.configuration.settings import StoreSettings
    from tenantkb.application.knowledge_base import KnowledgeBase
    from tenantkb.domain.context import TenantContext

Command = TypeVar("Command", bound=Callable[..., Any])

_NAMES_SHOWN: Final = 20

type_option = click.option(
    "--type", "type_", metavar="TYPE", help="Only chunks of this type, such as guide."
)
repo_option = click.option("--repo", metavar="SLUG", help="Only chunks of this repository.")
kind_option = click.option(
    "--kind", metavar="KIND", help="Only chunks of this kind, such as method."
)
path_option = click.option(
    "--path", metavar="GLOB", help="Only chunks of files like this, such as 'src/**/*.mjs'."
)


def asking(command: Command) -> Command:
    """The argument and the options of all commands that take a question."""
    for add in reversed(
        (
            click.argument("text"),
            type_option,
            kind_option,
            path_option,
            repo_option,
            click.option(
                "--prefer",
                type=click.Choice(["source", "docs", "tests"]),
                help="Demote all other kinds of text.",
            ),
        )
    ):
        command = add(command)
    return command


def answering(what: str, per_file: str) -> Callable[[Command], Command]:
    """The options of the commands that give answers one by one."""

    def add_all(command: Command) -> Command:
        whole = click.IntRange(1, ranking.LIMIT_MAXIMUM)
        for add in reversed(
            (
                click.option(
                    "--per-file",
                    type=whole,
                    metavar="N",
                    help=f"{per_file}  [default: retrieval.per_file]",
                ),
                click.option("--limit", type=whole, default=10, show_default=True),
                click.option(
                    "--page", type=whole, default=1, show_default=True, help="Which so many."
                ),
                click.option("--content", is_flag=True, help=f"Print whole {what}, not snippets."),
                click.option("--explain", is_flag=True, help="Tell what makes each score."),
            )
        ):
            command = add(command)
        return command

    return add_all


@click.command("query")
@asking
@answering("chunks", "Most answers from one file, as long as there are others.")
@common_options
@pass_session
def query_command(session: Session, /, text: str, explain: bool, **options: Any) -> int:
    """Rank the chunks by their likeness to TEXT.

    Of all chunks that the caller may read, the best come first: by words and names in common with
    TEXT, and by meaning.
    """
    answers, lexical = _asked(session, lambda kb: kb.query, text, explain, options)
    if session.json:
        results = objects.answer_objects(answers, explain=explain)
        click.echo(objects.json_text(_told(text, lexical, results)))
    else:
        from tenantkb.adapters.cli.output import print_answers

        print_answers(console(), answers, text, lexical)
    return 0


@click.command("search")
@asking
@answering("passages", "Most chunks of one file.")
@common_options
@pass_session
def search_command(session: Session, /, text: str, explain: bool, **options: Any) -> int:
    """Rank the files by their likeness to TEXT.

    Each file comes with the passages that have to do with TEXT; chunks that touch are one.
    """
    found, lexical = _asked(session, lambda kb: kb.search, text, explain, options)
    if session.json:
        results = objects.file_objects(found, explain=explain)
        click.echo(objects.json_text(_told(text, lexical, results)))
    else:
        from tenantkb.adapters.cli.output import print_files

        print_files(console(), found, text, lexical)
    return 0


@click.command("context")
@asking
@click.option(
    "--tokens",
    type=click.IntRange(TOKENS_MINIMUM, TOKENS_MAXIMUM),
    default=4_000,
    show_default=True,
    help="About how many may be printed.",
)
@common_options
@pass_session
def context_command(session: Session, /, text: str, **options: Any) -> int:
    """Print what a language model should read to answer TEXT.

    The best passages that fit, each once, in reading order, with a number and where they come
    from.
    """
    filled, _ = _asked(session, lambda kb: kb.context, text, explain=False, options=options)
    if session.json:
        click.echo(objects.json_text(objects.context_object(filled, text)))
    else:
        from tenantkb.adapters.cli.output import harmless

        click.echo(harmless(filled.text), nl=False)
    return 0


def _asked(
    session: Session,
    ask: Callable[[KnowledgeBase], Callable[..., Any]],
    text: str,
    explain: bool,
    options: dict[str, Any],
) -> tuple[Any, str | None]:
    """The answer, and what words were compared with if that is to be told.

    Raises:
        NotFoundError: there is none, since there is nothing that it could come from.
    """
    criteria = Criteria(
        type=options.pop("type_"),
        kind=options.pop("kind"),
        repo_slug=options.pop("repo"),
        path=options.pop("path"),
    )
    prefer = options.pop("prefer")
    with session.knowledge_base() as kb:
        caller = session.authenticate(kb)
        answer = ask(kb)(
            caller,
            text,
            criteria=criteria,
            prefer=None if prefer is None else Nature(prefer),
            **options,
        )
        lexical = kb.status(caller).lexical if explain else None
        if not (answer.citations if isinstance(answer, FilledContext) else answer):
            require_rows(session, kb, caller, criteria)
    return answer, lexical


def _told(text: str, lexical: str | None, results: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "query": text,
        **({} if lexical is None else {"lexical": lexical}),
        "results": results,
    }


@click.command("get")
@click.argument("document_id", metavar="ID")
@common_options
@pass_session
def get_command(session: Session, document_id: str) -> int:
    """Print one chunk as it is stored.

    `list` and `query --json` tell ids.
    """
    with session.knowledge_base() as kb:
        found = kb.get(session.authenticate(kb), ChunkId.parse(document_id))
    if session.json:
        document = objects.document_object(found.document)
        click.echo(objects.json_text({**document, "content": found.content}))
    else:
        from tenantkb.adapters.cli.output import harmless

        click.echo(harmless(found.content))
    return 0


@click.command("hierarchy")
@repo_option
@click.option("--root", metavar="CLASS", help="Only this class and its descendants.")
@common_options
@pass_session
def hierarchy_command(session: Session, repo: str | None, root: str | None) -> int:
    """Print the classes of repositories.

    Of each repository that the caller may read, every class with what it extends.
    """
    criteria = Criteria(repo_slug=repo)
    with session.knowledge_base() as kb:
        context = session.authenticate(kb)
        found = kb.hierarchy(context, criteria=criteria, root=root)
        if not found:
            require_rows(session, kb, context, criteria)
    if session.json:
        click.echo(objects.json_text({"repositories": objects.hierarchy_objects(found)}))
    else:
        from tenantkb.adapters.cli.output import print_hierarchies

        print_hierarchies(console(), found)
    return 0


@click.command("list")
@type_option
@kind_option
@path_option
@repo_option
@click.option(
    "--limit", type=click.IntRange(1, documents.LIMIT_MAXIMUM), default=100, show_default=True
)
@click.option("--cursor", help="Go on where an earlier page has ended, as it told.")
@click.option(
    "--offset",
    type=click.IntRange(0, documents.LIMIT_MAXIMUM),
    default=0,
    show_default=True,
    help="Leave out so many.",
)
@common_options
@pass_session
def list_command(
    session: Session,
    type_: str | None,
    kind: str | None,
    path: str | None,
    repo: str | None,
    limit: int,
    cursor: str | None,
    offset: int,
) -> int:
    """List the chunks by id, page by page.

    All that the caller may read. Where there are more, the cursor of the next page is told on
    standard error.
    """
    criteria = Criteria(type=type_, kind=kind, repo_slug=repo, path=path)
    with session.knowledge_base() as kb:
        context = session.authenticate(kb)
        page = kb.list(context, limit=limit, cursor=cursor, offset=offset, criteria=criteria)
        if not page.documents and cursor is None and offset == 0:
            require_rows(session, kb, context, criteria)
    if session.json:
        click.echo(objects.json_text(objects.page_object(page)))
        return 0
    from tenantkb.adapters.cli.output import print_documents

    print_documents(console(), page.documents)
    if page.cursor is not None:
        click.echo(f"There are more: --cursor {page.cursor}", err=True)
    return 0


@click.command("status")
@common_options
@pass_session
def status_command(session: Session) -> int:
    """Count the rows; tell the last syncs.

    All rows that the caller may read, by repository, and the embedder in force.
    """
    with session.knowledge_base() as kb:
        context = session.authenticate(kb)
        report = kb.status(context)
    if session.json:
        click.echo(objects.json_text(objects.status_object(report, context.identity)))
    else:
        from tenantkb.adapters.cli.output import print_status

        print_status(console(), report, context.identity)
    return 0


def require_rows(
    session: Session, kb: KnowledgeBase, context: TenantContext, criteria: Criteria
) -> None:
    """Tell an empty answer from a question about what does not exist for this caller.

    A mistyped repository, type or store would else look like one without rows.

    Raises:
        NotFoundError: the caller may read no row at all, or none of the repository, or none of the
            type in there; the message lists what there is.
    """
    repositories = kb.status(context).repositories
    if not repositories:
        caller = context.identity
        raise NotFoundError(
            f"there are no rows that {caller.tenant_id}/{caller.agent_id} may read in the store "
            f"({_place(session.settings().store)}); `tenantkb sync` stores some"
        )
    slugs = sorted({each.repo_slug for each in repositories})
    if criteria.repo_slug is not None and criteria.repo_slug not in slugs:
        raise NotFoundError(
            f"there is no repository {shown(criteria.repo_slug)}; there are {_listed(slugs)}"
        )
    if criteria.type is None:
        return
    if not kb.list(context, limit=1, criteria=criteria).documents:
        within = Criteria(repo_slug=criteria.repo_slug)
        page = kb.list(context, limit=documents.LIMIT_MAXIMUM, criteria=within)
        types = sorted({document.type for document in page.documents})
        among = "" if page.cursor is None else "among others "
        raise NotFoundError(
            f"there are no chunks of the type {shown(criteria.type)}"
            f"{'' if criteria.repo_slug is None else f' in {criteria.repo_slug}'}; "
            f"there are {among}{_listed(types)}"
        )


def _place(store: StoreSettings) -> str:
    """What decides which store it is, by the names of the settings."""
    if store.kind == "chroma-http":
        return f"store.host {store.host}, store.port {store.port}"
    return f"store.kind {store.kind}, store.path {store.path}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN:,} more" if len(names) > _NAMES_SHOWN else ""
    return printable(", ".join(names[:_NAMES_SHOWN])) + more
