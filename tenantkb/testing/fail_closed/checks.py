"""The checks of the suite. The sabotage tests run the same ones and expect them to fail."""
# ruff: noqa: S101 # a suite asserts

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.ids import RowKey
from tenantkb.domain.rows import Criteria
from tenantkb.testing.fail_closed.facades import READERS, Reader, Request
from tenantkb.testing.fail_closed.findings import Findings
from tenantkb.testing.fail_closed.model import ADA, PEOPLE
from tenantkb.testing.fail_closed.world import World

Check = Callable[[World, Findings, Reader, AgentIdentity], None]


def sees_exactly_its_rows(
    world: World,
    findings: Findings,
    reader: Reader,
    who: AgentIdentity,
    request: Request | None = None,
) -> None:
    """The answer is the model's, and the second check had nothing to withhold."""
    faults = world.faults()
    sees_its_rows(world, findings, reader, who, request)
    assert world.faults() == faults, "the store answered rows out of scope"


def sees_its_rows(
    world: World,
    findings: Findings,
    reader: Reader,
    who: AgentIdentity,
    request: Request | None = None,
) -> None:
    """The answer is the model's, whether the store or the second check has seen to it."""
    request = request or Request(ids=world.ids())
    answer = world.ask(findings, reader, who, request)
    assert not is_refusal(answer), answer
    assert reader.shown(answer) == reader.expected(world.model.seen_by(who), request)


def everybody_sees_exactly_their_rows(
    world: World, findings: Findings, reader: Reader | None = None
) -> None:
    """See :func:`sees_exactly_its_rows`; through every reading facade, or this one."""
    for each in READERS.values() if reader is None else [reader]:
        for who in PEOPLE:
            sees_exactly_its_rows(world, findings, each, who)


def criteria_only_narrow(
    world: World, findings: Findings, reader: Reader, who: AgentIdentity
) -> None:
    """Naming what another tenant has finds what the caller has under that name."""
    for row in world.model.hidden_from(who):
        for criteria in (
            Criteria(repo_slug=row.repo),
            Criteria(repo_slug=row.tenant),
            Criteria(source_path=str(row.chunk["source"])),
            Criteria(class_name=str(row.chunk.get("className", row.tenant))),
            Criteria(path=str(row.chunk["source"])),
        ):
            request = Request(criteria=criteria, ids=world.ids())
            sees_exactly_its_rows(world, findings, reader, who, request)


def pages_have_no_gaps(
    world: World, findings: Findings, reader: Reader, who: AgentIdentity
) -> None:
    """Page after page is what one large page is, whoever else has rows between them."""
    count = len(world.model.seen_by(who))
    everything = reader.shown(world.ask(findings, reader, who))
    for size in (1, 2, 3):
        for offset in range(0, count + size, size):
            request = Request(limit=size, offset=offset)
            sees_exactly_its_rows(world, findings, reader, who, request)
        followed: list[Any] = []
        page = world.ask(findings, reader, who, Request(limit=size))
        while page.cursor is not None:
            followed += page.documents
            page = world.ask(findings, reader, who, Request(limit=size, cursor=page.cursor))
        page = type(page)([*followed, *page.documents], None)
        assert reader.shown(page) == everything


def the_best_are_ones_own(
    world: World, findings: Findings, reader: Reader, who: AgentIdentity, *, exact: bool
) -> None:
    """A short answer is the beginning of the long one: nobody else's rows take places in it."""
    everything = world.ask(findings, reader, who)
    for limit in range(1, len(world.model.seen_by(who)) + 2):
        best = world.ask(findings, reader, who, Request(limit=limit))
        assert len(best) == len(everything[:limit])
        if exact:
            assert best == everything[:limit]
        else:
            count_recall(findings, "at rest", everything[:limit], best)


def count_recall(findings: Findings, when: str, exact: Sequence[Any], found: Sequence[Any]) -> None:
    """How many of the found are as near as the exact ones; which of equals does not matter."""
    worst = min((match.score for match in exact), default=0.0) - 1e-5
    findings.wanted[when] += len(exact)
    findings.found[when] += sum(match.score >= worst for match in found)


def reads_are_isolated(world: World, findings: Findings, *, exact: bool) -> None:
    """Everything that holds for the reading facades in any world."""
    everybody_sees_exactly_their_rows(world, findings)
    for who in PEOPLE:
        pages_have_no_gaps(world, findings, READERS["list"], who)
        the_best_are_ones_own(world, findings, READERS["query"], who, exact=exact)


def nothing_wider(world: World, findings: Findings, reader: Reader, request: Request) -> None:
    """A forged request brings nobody more than the same caller gets by an honest one."""
    faults = world.faults()
    answer = world.ask(findings, reader, ADA, request)
    if not is_refusal(answer):
        assert ids_in(answer) <= {row.id for row in world.model.seen_by(ADA)}
    assert world.faults() == faults, "the store answered rows out of scope"


def covered(world: World, who: AgentIdentity, repo: str) -> set[RowKey]:
    """The addresses of the rows of a repository that somebody may delete."""
    place = who.tenant_id, repo
    seen = world.model.seen_by(who)
    return {key for key in world.addresses() for row in seen if row.key == key and at(row) == place}


def at(row: Any) -> tuple[str, str]:
    """Tenant and repository of a row of the model."""
    return row.tenant, row.repo


def untouched(before: Mapping[RowKey, Any], after: Mapping[RowKey, Any]) -> bool:
    """Whether every row of ``before`` is there as it was."""
    return all(after.get(key) == found for key, found in before.items())


def empties_its_own_rows_alone(
    world: World,
    who: AgentIdentity,
    repo: str,
    empty: Callable[[World, AgentIdentity, str], None],
) -> int:
    """All rows of a repository that somebody may delete go, and no others; returns how many."""
    before, mine = world.stored(), covered(world, who, repo)
    empty(world, who, repo)
    after = world.stored()
    assert after == {key: found for key, found in before.items() if key not in mine}
    return len(mine)


def is_refusal(answer: object) -> bool:
    """Whether an answer is an error of the facade as a whole."""
    return isinstance(answer, dict) and "error" in answer


def ids_in(answer: object) -> set[str]:
    """The ids of the documents of an answer."""
    items = getattr(answer, "documents", answer)
    found = set()
    for item in items if isinstance(items, list) else []:
        row_id = getattr(getattr(item, "document", item), "id", None)
        if isinstance(row_id, str):
            found.add(str(row_id))
    return found
