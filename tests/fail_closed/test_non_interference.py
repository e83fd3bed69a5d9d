"""What others do changes nothing for a tenant, not by a byte; nor does the choice of the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantkb.adapters.stores.memory import MemoryStore
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.rows import Criteria
from tests.conformance.stores import STORES, Places
from tests.fail_closed.actions import POOL, Action, actions, actions_that_do_not_concern
from tests.fail_closed.checks import count_recall
from tests.fail_closed.facades import READERS, Request, plain
from tests.fail_closed.findings import Findings
from tests.fail_closed.model import ADA, CORPUS, PEOPLE, SHARED, Planted
from tests.fail_closed.world import World, populated

few = settings(max_examples=4, suppress_health_check=list(HealthCheck))
many = settings(max_examples=8, suppress_health_check=list(HealthCheck))

REQUESTS = (
    Request(),
    Request(limit=3),
    Request(limit=3, offset=2),
    Request(text="common words", criteria=Criteria(repo_slug="app")),
    Request(criteria=Criteria(type="nothing")),
    Request(text=" ", limit=0, offset=-1),
)
"""Lists, pages, questions, and errors."""


def either(*values: str) -> st.SearchStrategy[str | None]:
    return st.none() | st.sampled_from(values)


random_requests = st.lists(
    st.builds(
        Request,
        text=st.sampled_from(["common words", "deploy the worker", "Deployment", "\0", ""]),
        limit=st.integers(1, 6) | st.just(1000),
        offset=st.integers(0, 4),
        criteria=st.builds(
            Criteria,
            type=either("guide", "nothing"),
            kind=either("section", "guide"),
            repo_slug=either("app", "lib", CORPUS, "notes", "beta"),
            source_path=either(*{str(each["source"]) for each in POOL}, "docs"),
            class_name=either("Class.common", "Class.secret-0-0.", "Base.common"),
        ),
    ),
    max_size=4,
)


def view(
    world: World,
    findings: Findings,
    who: AgentIdentity,
    ids: Sequence[str],
    requests: Sequence[Request] = REQUESTS,
) -> dict[str, str]:
    """Everything that one caller can find out, as text, by facade and request."""
    seen = {}
    for reader in READERS.values():
        for number, request in enumerate(requests):
            if number and not reader.takes - {"ids"}:
                continue
            if not world.is_exact and "text" in reader.takes and 0 < request.limit < 1000:
                continue
            answer = world.ask(findings, reader, who, attrs.evolve(request, ids=ids))
            seen[f"{reader.name} {number}"] = json.dumps(plain(answer))
    return seen


FUTURE = [
    Planted(tenant, repo, None, each).id
    for tenant, repo in (("beta", "app"), ("beta", "lib"), (SHARED, "draft"), ("acme", "of-bob"))
    for each in POOL
]
"""Ids that are of no row at first, and then may be of rows that the caller must not see."""


def check_that_others_change_nothing(
    store_name: str, places: Places, folder: Path, findings: Findings, drawn: list[Action]
) -> None:
    with closing(STORES[store_name](places)()) as store:
        world = populated(store, folder / uuid4().hex)
        ids = [*world.ids(), *FUTURE]
        query = READERS["Query"]
        before = view(world, findings, ADA, ids)
        all_before = world.ask(findings, query, ADA)
        best_before = world.ask(findings, query, ADA, Request(limit=3))
        for action in drawn:
            action.run(world)
        assert view(world, findings, ADA, ids) == before
        best_after = world.ask(findings, query, ADA, Request(limit=3))
        if not world.is_exact:
            count_recall(findings, "before others wrote", all_before[:3], best_before)
            count_recall(findings, "after others wrote", all_before[:3], best_after)


others_actions = st.lists(actions_that_do_not_concern(ADA.tenant_id), min_size=2, max_size=5)
anybodys_actions = st.lists(actions(), min_size=2, max_size=5)


@pytest.mark.case("non-interference: others change nothing by a byte")
def test_what_others_do_changes_nothing_for_a_tenant(
    store_name: str, places: Places, tmp_path: Path, findings: Findings
) -> None:
    """Fails: a count, a page, a score or an error depends on rows that the caller may not see."""

    @few
    @given(others_actions)
    def law(drawn: list[Action]) -> None:
        check_that_others_change_nothing(store_name, places, tmp_path, findings, drawn)

    with closing(STORES[store_name](places)()):
        law()


@pytest.mark.slow
@pytest.mark.case("non-interference: others change nothing by a byte")
def test_what_others_do_changes_nothing_for_a_tenant_in_many_tries(
    store_name: str, places: Places, tmp_path: Path, findings: Findings
) -> None:
    """Fails: as above."""

    @many
    @given(others_actions)
    def law(drawn: list[Action]) -> None:
        check_that_others_change_nothing(store_name, places, tmp_path, findings, drawn)

    with closing(STORES[store_name](places)()):
        law()


def check_that_stores_agree(
    store_name: str,
    places: Places,
    folder: Path,
    findings: Findings,
    drawn: list[Action],
    asked: list[Request],
) -> None:
    with closing(STORES[store_name](places)()) as store:
        worlds = [World.around(each, folder / uuid4().hex) for each in (MemoryStore(), store)]
        for action in drawn:
            memorys, others = [action.run(world) for world in worlds]
            assert memorys == others
        ids = worlds[0].ids()
        requests = [*REQUESTS, *asked]
        for who in PEOPLE:
            first, second = [view(world, findings, who, ids, requests) for world in worlds]
            assert second
            assert {key: first[key] for key in second} == second


@pytest.mark.case("congruence: every store answers as the one in memory")
def test_every_store_answers_as_the_one_in_memory(
    store_name: str, places: Places, tmp_path: Path, findings: Findings
) -> None:
    """Fails: the printed actions give two answers; ports/store.py says which is right."""

    @few
    @given(anybodys_actions, random_requests)
    def law(drawn: list[Action], asked: list[Request]) -> None:
        check_that_stores_agree(store_name, places, tmp_path, findings, drawn, asked)

    with closing(STORES[store_name](places)()):
        law()


@pytest.mark.slow
@pytest.mark.case("congruence: every store answers as the one in memory")
def test_every_store_answers_as_the_one_in_memory_in_many_tries(
    store_name: str, places: Places, tmp_path: Path, findings: Findings
) -> None:
    """Fails: as above."""

    @many
    @given(anybodys_actions, random_requests)
    def law(drawn: list[Action], asked: list[Request]) -> None:
        check_that_stores_agree(store_name, places, tmp_path, findings, drawn, asked)

    with closing(STORES[store_name](places)()):
        law()
