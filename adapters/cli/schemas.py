"""The commands about the published contracts."""

from __future__ import annotations

import json
from collections import Counter
from typing import BinaryIO

import attrs
import click

from tenantkb import schemas
from tenantkb.adapters.cli.session import Session, common_options, json_option, pass_session
from tenantkb.adapters.files.backups import BACKUP_LINE_LENGTH
from tenantkb.adapters.files.jsonl import read_records
from tenantkb.application.contracts import Contract, contract_of, problems_of
from tenantkb.domain.records import RecordProblem


@click.command("schema")
@click.argument("name", required=False)
@common_options
def schema_command(name: str | None) -> int:
    """Print the JSON Schema of the contract NAME; without it, the names of all contracts."""
    click.echo("\n".join(schemas.names()) if name is None else schemas.text(name).rstrip("\n"))
    return 0


@click.command("validate")
@click.argument("file", type=click.File("rb"))
@json_option
@common_options
@pass_session
def validate_command(session: Session, file: BinaryIO) -> int:
    """Judge every record of FILE, each by its own contract. Nothing is stored.

    FILE is JSON lines; - is standard input. The records are parsed chunks, lines that `create`
    wrote, or backup records. Fails with exit code 1 if one is bad.
    """
    report = _JsonReport() if session.json else _TextReport()
    records = bad = 0
    objects: Counter[Contract] = Counter()
    for line, record in read_records(file, BACKUP_LINE_LENGTH):
        contract = contract_of(record if isinstance(record, dict) else {})
        problems = problems_of(contract, line, record)
        records += 1
        bad += bool(problems)
        objects[contract] += isinstance(record, dict)
        for problem in problems:
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
