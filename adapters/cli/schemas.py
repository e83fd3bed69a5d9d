"""The commands about the published contracts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import attrs
import click

from tenantkb import schemas
from tenantkb.adapters.cli.session import Session, common_options, pass_session, reading
from tenantkb.adapters.files.backups import BACKUP_LINE_LENGTH
from tenantkb.adapters.files.jsonl import read_records
from tenantkb.adapters.wire.objects import json_text
from tenantkb.application.contracts import Contract, validate
from tenantkb.domain.records import RecordProblem


@click.command("schema")
@click.argument("name", required=False)
@common_options
@pass_session
def schema_command(session: Session, name: str | None) -> int:
    """Print the JSON Schema of a contract.

    NAME is one of the contracts'; without it, their names are printed.
    """
    if name is not None:
        click.echo(schemas.text(name).rstrip("\n"))
    elif session.json:
        click.echo(json_text({"schemas": schemas.names()}))
    else:
        click.echo("\n".join(schemas.names()))
    return 0


@click.command("validate")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@common_options
@pass_session
def validate_command(session: Session, file: Path) -> int:
    """Judge records; nothing is stored.

    FILE is JSON lines; - is standard input. The records are parsed chunks, lines that `create`
    wrote, or backup records, each judged by its own contract. Fails with exit code 1 if one is bad.
    """
    report = _JsonReport() if session.json else _TextReport()
    records = bad = 0
    objects: Counter[Contract] = Counter()
    with reading(file) as stream:
        for judged in validate(read_records(stream, BACKUP_LINE_LENGTH)):
            records += 1
            bad += bool(judged.problems)
            objects[judged.contract] += judged.is_object
            for problem in judged.problems:
                report.add(problem)
    report.close(records, bad, objects)
    return int(bad > 0)


class _TextReport:
    """One line a problem, as soon as it is found."""

    def add(self, problem: RecordProblem) -> None:
        click.echo(str(problem))

    def close(self, records: int, bad: int, objects: Counter[Contract]) -> None:
        kinds = ", ".join(f"{objects[kind]:,} {kind.value}" for kind in Contract if objects[kind])
        click.echo(f"{records:,} records, {bad:,} of them bad{kinds and f'; {kinds}'}")


class _JsonReport:
    """One object, written bit by bit: a file may have more problems than fit into memory."""

    def __init__(self) -> None:
        self._separator = '{"problems": [\n'

    def add(self, problem: RecordProblem) -> None:
        click.echo(self._separator + json.dumps(attrs.asdict(problem)), nl=False)
        self._separator = ",\n"

    def close(self, records: int, bad: int, objects: Counter[Contract]) -> None:
        start = self._separator if self._separator.startswith("{") else ""
        contracts = json.dumps({kind.value: objects[kind] for kind in Contract})
        click.echo(
            f'{start}\n], "records": {records}, "badRecords": {bad}, "contracts": {contracts}}}'
        )
