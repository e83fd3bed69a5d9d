"""Forged claims: which ones count, when they are too many, and what the log says of them."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.adapters.runtime.telemetry import LoggedSpoofs
from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.spoofing import Spoof, SpoofLimit, SpoofWindow, spoofs_of
from tenantkb.domain.tenancy import STAMP_KEYS, TenantStamp, Visibility
from tests.composition import ADA, BOB, EVE
from tests.strategies import NOW, stamps

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)

TEAM_STAMP = TenantStamp("acme", "app", Visibility.TEAM, ingested_at=NOW)


def seconds(count: int) -> timedelta:
    return timedelta(seconds=count)


def spoof(claimed: Any = "beta", chunk_id: str | None = "c1") -> Spoof:
    return Spoof("tenantId", chunk_id, claimed, "acme")


@given(stamps)
def test_a_claim_that_equals_the_servers_value_is_no_spoof(stamp: TenantStamp) -> None:
    assert spoofs_of(stamp.metadata(), stamp, "c1") == []


@given(stamps, st.dictionaries(st.sampled_from(sorted(STAMP_KEYS)), json_values))
def test_every_other_claim_is_one_spoof_of_its_field(
    stamp: TenantStamp, claims: dict[str, Any]
) -> None:
    actual = stamp.metadata()
    record = {"content": "text", **claims}
    found = spoofs_of(record, stamp, "c1")
    assert [item.field for item in found] == sorted(
        key
        for key, claimed in claims.items()
        if not (isinstance(claimed, str) and claimed == actual.get(key))
        and not (claimed is None and key not in actual)
    )
    for item in found:
        assert item.chunk_id == "c1"
        assert item.claimed is record[item.field]
        assert item.actual == actual.get(item.field)


@pytest.mark.parametrize(
    "claimed",
    [
        ["acme"],
        {"$eq": "acme"},
        {"$ne": None},
        None,
        True,
        0,
        "",
        "Acme",
        " acme",
        "acme\n",
        "acme\0",
        "аcme",
        "ａcme",
        "acme\u200b",
        "neo-shared",
        "\ud800",
    ],
)
def test_nothing_that_only_resembles_the_tenant_is_taken_for_it(claimed: Any) -> None:
    [found] = spoofs_of({"tenantId": claimed}, TEAM_STAMP, None)
    assert (found.field, found.claimed, found.actual) == ("tenantId", claimed, "acme")


def test_a_field_that_the_row_does_not_carry_cannot_be_claimed() -> None:
    [found] = spoofs_of({"originAgentIdentity": "ada"}, TEAM_STAMP, None)
    assert (found.field, found.actual) == ("originAgentIdentity", None)


@given(st.dictionaries(st.text().filter(lambda key: key not in STAMP_KEYS), json_values))
def test_fields_that_the_server_does_not_stamp_are_no_claims(record: dict[str, Any]) -> None:
    assert spoofs_of({**record, "customMeta": {"tenantId": "beta"}}, TEAM_STAMP, None) == []


@given(
    threshold=st.integers(0, 4),
    window=st.integers(1, 6),
    steps=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=20),
    looks=st.lists(st.integers(0, 7), max_size=5),
)
def test_past_the_threshold_spoofs_are_rejected_until_the_window_has_emptied(
    threshold: int, window: int, steps: list[tuple[int, int]], looks: list[int]
) -> None:
    limit = SpoofLimit(threshold, seconds(window))
    found = SpoofWindow(limit)
    history: list[int] = []  # the second of every single spoof, never forgotten
    rejecting = False
    now = 0
    for wait, count in steps:
        for _ in range(wait):
            now += 1
            rejecting = rejecting and any(now - second < window for second in history)
        history += [now] * count
        rejecting = rejecting or sum(now - second < window for second in history) > threshold
        found = found.after(count, NOW + seconds(now))
        assert found.is_escalated(NOW + seconds(now)) is rejecting
        assert len(found.runs) <= max(threshold, 1)
    for look in looks:
        live = any(now + look - second < window for second in history)
        assert found.is_escalated(NOW + seconds(now + look)) is (rejecting and live)


@pytest.mark.parametrize(("threshold", "window"), [(-1, 1), (1, 0), (1, -1)])
def test_a_limit_that_limits_nothing_is_refused(threshold: int, window: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        SpoofLimit(threshold, seconds(window))


def test_each_identity_has_a_count_and_a_window_of_its_own() -> None:
    spoofs = LoggedSpoofs(SpoofLimit(2, seconds(60)))
    spoofs.record(ADA, [spoof(), spoof()], NOW)
    assert not spoofs.is_escalated(ADA, NOW)
    spoofs.record(AgentIdentity("acme", "ada", frozenset({Role.OPERATOR})), [spoof()], NOW)
    assert spoofs.is_escalated(ADA, NOW + seconds(59))
    assert not spoofs.is_escalated(ADA, NOW + seconds(60))
    assert spoofs.count(ADA) == 3
    for other in (BOB, EVE):
        assert not spoofs.is_escalated(other, NOW)
        assert spoofs.count(other) == 0


def test_a_record_without_spoofs_leaves_no_trace() -> None:
    spoofs = LoggedSpoofs(SpoofLimit(0, seconds(60)), identities=1)
    spoofs.record(ADA, [spoof()], NOW)
    spoofs.record(BOB, [], NOW)
    assert spoofs.is_escalated(ADA, NOW)


def test_only_the_identities_that_spoofed_last_are_remembered() -> None:
    spoofs = LoggedSpoofs(SpoofLimit(), identities=2)
    for writer in (ADA, BOB, ADA, EVE):
        spoofs.record(writer, [spoof()], NOW)
    assert [spoofs.count(writer) for writer in (ADA, BOB, EVE)] == [2, 0, 1]


def test_threads_lose_no_spoof() -> None:
    spoofs = LoggedSpoofs(SpoofLimit(0, seconds(60)))
    with ThreadPoolExecutor(8) as pool:
        for _ in range(800):
            pool.submit(spoofs.record, ADA, [spoof()], NOW)
    assert spoofs.count(ADA) == 800


def test_the_log_names_field_chunk_claim_and_server_value(
    caplog: pytest.LogCaptureFixture,
) -> None:
    LoggedSpoofs(SpoofLimit()).record(ADA, [spoof("beta", "c1")], NOW)
    [entry] = caplog.records
    assert entry.levelno == logging.WARNING
    assert entry.getMessage() == (
        "spoofed field: acme/ada claims tenantId='beta' for chunk c1; the server's value is 'acme'"
    )


@pytest.mark.parametrize(
    "claimed",
    [
        "x\nWARNING all is well",
        "\r\x1b[2J\x9b\u2028\u202e\ud800",
        "аcme",
        "x" * 10**6,
        ["é" * 10**5] * 1000,
        {"\n" * 1000: {"\n": [[[[["\n"]]]]]}},
        10**4000,
    ],
)
def test_a_claim_can_neither_forge_nor_flood_a_log_line(
    caplog: pytest.LogCaptureFixture, claimed: Any
) -> None:
    LoggedSpoofs(SpoofLimit()).record(ADA, [spoof(claimed)], NOW)
    [entry] = caplog.records
    message = entry.getMessage()
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 400


def test_what_is_rejected_for_its_number_is_counted_without_a_log_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    spoofs = LoggedSpoofs(SpoofLimit(2, seconds(60)))
    for _ in range(10):
        spoofs.record(ADA, [spoof()], NOW)
    *single, last = [entry.getMessage() for entry in caplog.records]
    assert len(single) == 3
    assert last.startswith("acme/ada has spoofed more than 2 fields")
    assert spoofs.count(ADA) == 10
