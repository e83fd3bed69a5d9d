"""What a hostile or confused client sends, as data."""

from __future__ import annotations

from typing import Any

from tenantkb.testing.fail_closed.model import CORPUS, SHARED

TEXTS: tuple[str, ...] = (
    "",
    " ",
    "*",
    "%",
    "_",
    ".*",
    "null",
    "None",
    "true",
    "{}",
    '{"$ne": ""}',
    "$or",
    "beta",
    "Beta",
    " beta",
    "beta ",
    "beta\n",
    "bеta",  # a Cyrillic letter
    "ｂｅｔａ",  # full-width letters
    "be\u200bta",  # a zero-width space
    "beta\0",
    "beta\0acme",
    "acme,beta",
    "team:beta",
    "private:beta:ada",
    "neo-shared",
    "NEO-SHARED",
    "' OR '1'='1",
    '" OR ""="',
    "beta'; DROP TABLE embeddings; --",
    "../../../etc/passwd",
    "/etc/passwd",
    "..\\..\\beta",
    "%2e%2e%2fbeta",
    "\ud800",
    "beta\udfff",
    "\u202eateb",  # right to left
    "x" * 100_000,
)
"""Strings, for every argument and field that takes one."""

OBJECTS: tuple[Any, ...] = (
    {"$ne": ""},
    {"$ne": None},
    {"$in": ["beta", "acme"]},
    {"$nin": []},
    {"$or": [{"tenantId": "beta"}, {"tenantId": "acme"}]},
    {"$gt": ""},
    {},
    [],
    ["beta"],
    ("beta",),
    [["beta"]],
    {"beta"},
    b"beta",
    0,
    1,
    -1,
    2**63,
    10**40,
    1.5,
    float("nan"),
    float("inf"),
    float("-inf"),
    True,
    False,
    object(),
)
"""Values of other types. ``None`` is not among them: where it is allowed, it means "any"."""

JSON_OBJECTS: tuple[Any, ...] = tuple(
    value
    for value in OBJECTS
    if isinstance(value, dict | list | int | float)
    and value == value  # NaN is no JSON
    and value not in (float("inf"), float("-inf"))
)
"""Those that a line of JSON can carry."""

NUMBERS: tuple[Any, ...] = (0, -1, -(2**63), 2**31, 2**63, 10**40, "1", "1 OR 1=1", None)
"""For arguments that take a whole number."""

FORGED_TENANTS: list[Any] = ["beta", "acme", SHARED, *TEXTS, *JSON_OBJECTS]
"""What a chunk may claim as its owner."""

FORGED_STAMPS: list[dict[str, Any]] = [
    {"visibility": "team"},
    {"visibility": "public"},
    {"visibility": ["team"]},
    {"originAgentIdentity": "ada"},
    {"originAgentIdentity": {"$ne": ""}},
    {"repoSlug": "app"},
    {"repoSlug": CORPUS},
    {"repoSlug": 5},
    {"ingestedAt": "1970-01-01T00:00:00.000Z"},
    {"ingestedAt": {"$gt": 0}},
    {"access": "team:acme"},
    {"access": ["team:acme", "team:beta"]},
    {"id": "0" * 64, "hash": "0" * 64},
    {
        "tenantId": "acme",
        "repoSlug": "app",
        "visibility": "team",
        "originAgentIdentity": "bob",
        "access": "private:acme:bob",
    },
]
"""What a chunk may claim as the rest of its stamp."""
