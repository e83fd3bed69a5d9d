"""Forged claims: which ones count, when they are too many, and what the log says of them."""

from __future__ import annotations

import logging
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.adapters.runtime.telemetry import LoggedSpoofs
from tenantkb.adapters.state.sqlite import MemoryState
from tenantkb.domain.fields import STAMP
from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.spoofing import Spoof, SpoofLimit, SpoofWindow, spoofs_of
from tenantkb.domain.stamps import TenantStamp, Visibility
from tenantkb.testing.samples import NOW
from tests.strategies import stamps

ADA = AgentIdentity("acme", "ada")
BOB = AgentIdentity("acme", "bob")
EVE = AgentIdentity("beta", "ada")

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


@given(stamps, st.dictionaries(st.sampled_from(sorted(STAMP)), json_values))
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


def test_a_window_adds_up_all_that_is_recent() -> None:
    window = SpoofWindow(SpoofLimit(10, timedelta(hours=1)))
    for minute, passed in ((0, False), (1, False), (2, True)):
        window = window.after(4, NOW + timedelta(minutes=minute))
        assert window.passed is passed


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


def test_nothing_is_no_claim_of_a_field_that_the_row_does_not_carry() -> None:
    assert spoofs_of({"originAgentIdentity": None}, TEAM_STAMP, None) == []
    [found] = spoofs_of({"tenantId": None}, TEAM_STAMP, None)
    assert (found.claimed, found.actual) == (None, "acme")


@given(st.dictionaries(st.text().filter(lambda key: key not in STAMP), json_values))
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


@given(
    st.integers(0, 4),
    st.integers(1, 6),
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4)), max_size=12),
)
def test_what_is_remembered_is_what_a_window_says(
    threshold: int, window: int, steps: list[tuple[int, int]]
) -> None:
    """Fails: what the window needs is lost on its way into the state or out of it."""
    limit = SpoofLimit(threshold, seconds(window))
    expected, total, now = SpoofWindow(limit), 0, NOW
    with closing(MemoryState()) as state:
        for wait, count in steps:
            now += seconds(wait)
            before, after = state.add_spoofs(ADA, limit, count, now)
            assert before.window.is_escalated(now) is expected.is_escalated(now)
            expected, total = expected.after(count, now), total + count
            for found in (after, state.spoofs(ADA, limit)):
                assert found.total == total
                for second in range(window + 2):
                    look = now + seconds(second)
                    assert found.window.is_escalated(look) is expected.is_escalated(look)


def test_the_log_names_field_chunk_claim_and_server_value(
    caplog: pytest.LogCaptureFixture,
) -> None:
    LoggedSpoofs().record(ADA, [spoof("beta", "c1")])
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
    LoggedSpoofs().record(ADA, [spoof(claimed)])
    [entry] = caplog.records
    message = entry.getMessage()
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 400


def test_that_a_writer_is_rejected_for_its_number_is_told_with_the_limit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    LoggedSpoofs().escalated(ADA, SpoofLimit(2, seconds(60)))
    [message] = caplog.messages
    assert message.startswith(
        "acme/ada has spoofed more than 2 fields; until it has not for 0:01:00"
    )
