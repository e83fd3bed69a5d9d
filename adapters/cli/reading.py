"""The commands that read."""

from __future__ import annotations

import click

from tenantkb.adapters.cli import output as show
from tenantkb.adapters.cli.session import (
    Session,
    common_options,
    console,
    json_option,
    pass_session,
)
from tenantkb.domain.rows import Criteria


@click.command("query")
@click.argument("text")
@click.option("--type", "type_", metavar="TYPE", help="Only chunks of this type, such as guide.")
@click.option("--repo", metavar="SLUG", help="Only chunks of this repository.")
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--content", is_flag=True, help="Print whole chunks, not snippets of them.")
@json_option
@common_options
@pass_session
def query_command(
    session: Session, text: str, type_: str | None, repo: str | None, limit: int, content: bool
) -> int:
    """Rank the chunks that the caller may read by their similarity to TEXT."""
    with session.container() as container:
        ask = container.search() if content else container.query()
        answers = ask(
            session.authenticate(container),
            text,
            limit=limit,
            criteria=Criteria(type=type_, repo_slug=repo),
        )
    if session.json:
        click.echo(show.json_text({"query": text, "results": show.answer_objects(answers)}))
    else:
        show.print_answers(console(), answers)
    return 0


@click.command("get")
@click.argument("document_id", metavar="ID")
@json_option
@common_options
@pass_session
def get_command(session: Session, document_id: str) -> int:
    """Print the chunk with this ID, as it is stored."""
    with session.container() as container:
        found = container.get_document()(session.authenticate(container), document_id)
    if session.json:
        document = show.document_object(found.document)
        click.echo(show.json_text({**document, "content": found.content}))
    else:
        click.echo(show.harmless(found.content))
    return 0


@click.command("hierarchy")
@click.option("--repo", metavar="SLUG", help="Only classes of this repository.")
@json_option
@common_options
@pass_session
def hierarchy_command(session: Session, repo: str | None) -> int:
    """Print the classes of each repository that the caller may read, with what they extend."""
    with session.container() as container:
        found = container.class_hierarchy()(
            session.authenticate(container), criteria=Criteria(repo_slug=repo)
        )
    if session.json:
        click.echo(show.json_text({"repositories": show.hierarchy_objects(found)}))
    else:
        show.print_hierarchies(console(), found)
    return 0


@click.command("list")
@click.option("--type", "type_", metavar="TYPE", help="Only chunks of this type, such as guide.")
@click.option("--repo", metavar="SLUG", help="Only chunks of this repository.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--offset", type=click.IntRange(min=0), default=0, show_default=True)
@json_option
@common_options
@pass_session
def list_command(
    session: Session, type_: str | None, repo: str | None, limit: int, offset: int
) -> int:
    """List the chunks that the caller may read, by id."""
    with session.container() as container:
        caller = session.authenticate(container)
        documents = container.list_documents()(
            caller, limit=limit, offset=offset, criteria=Criteria(type=type_, repo_slug=repo)
        )
    if session.json:
        click.echo(show.json_text({"documents": show.document_objects(documents)}))
    else:
        show.print_documents(console(), documents)
    return 0


@click.command("status")
@json_option
@common_options
@pass_session
def status_command(session: Session) -> int:
    """Count the rows that the caller may read, and tell the embedder and the last sync."""
    with session.container() as container:
        caller = session.authenticate(container)
        report = container.status()(caller)
        faults = container.faults().count()
    if session.json:
        click.echo(show.json_text(show.status_object(report, caller, faults)))
    else:
        show.print_status(console(), report, caller)
    return 0
