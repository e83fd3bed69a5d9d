"""One knowledge base, many threads: nobody sees half a row, or a row that is not theirs."""
# ruff: noqa: S101 # a suite asserts

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Event
from typing import Any, Final

import pytest

from tenantkb.domain.identity import AgentIdentity
from tenantkb.domain.ids import ChunkId
from tenantkb.testing.fail_closed.findings import Findings
from tenantkb.testing.fail_closed.model import ADA, BOB, CORA, EVE, Chunk
from tenantkb.testing.fail_closed.suite import Worlds
from tenantkb.testing.fail_closed.world import World

READING: Final = 16
_ROWS: Final = 24
_VERSION: Final = re.compile(r"version (\d+) of row \d+")


def versions(number: int) -> list[Chunk]:
    """A workspace of one version; every field of a row tells which."""
    return [
        {
            "type": "guide",
            "kind": f"version {number} of row {row}",
            "name": f"version {number} of row {row}",
            "content": f"version {number} of row {row}, " * 20,
            "source": f"docs/{row}.md",
        }
        for row in range(_ROWS)
    ]


class Threads(Worlds):
    """Sixteen threads read while one synchronises."""

    @pytest.mark.case("threads: whole rows, each to its readers", facade="sync")
    def test_sixteen_threads_read_while_one_synchronises(
        self, world: World, findings: Findings
    ) -> None:
        """Fails: a read meets half a row, or rows of others, or ends in an error.

        So do false alarms: a row that changes its audience while it is read is no isolation fault.
        """
        done = Event()
        face, contexts = world.knowledge_base, {who: world.context(who) for who in (ADA, BOB, EVE)}
        world.sync(ADA, "live", versions(0))
        faults = world.faults()

        def write() -> None:
            try:
                for number in range(1, 5):
                    world.sync(ADA, "live", versions(number), private=number % 2 == 1)
                    world.sync(ADA, "live", versions(number), private=number % 2 == 0)
            finally:
                done.set()

        def require_whole(who: AgentIdentity, documents: Iterable[Any]) -> int:
            seen = 0
            for document in documents:
                assert document.tenant_id in (who.tenant_id, CORA.tenant_id)
                if document.repo_slug == "live" and document.tenant_id == ADA.tenant_id:
                    assert document.visibility.value == "team" or who is ADA
                    assert _VERSION.fullmatch(document.name)
                    assert document.kind == document.name
                    seen += 1
            return seen

        def read(reader: int) -> int:
            who = (ADA, BOB, EVE)[reader % 3]
            context = contexts[who]
            for reads in count(1):
                page = face.list(context)
                require_whole(who, page.documents)
                answers = face.query(context, "version of row", limit=50, content=True)
                require_whole(who, (answer.document for answer in answers))
                for answer in answers:
                    if answer.document.repo_slug == "live" and who is not EVE:
                        assert answer.content == f"{answer.document.name}, " * 20
                own = {row.id for row in world.model.values() if row.repo == "notes"}
                stable = ChunkId(sorted(own)[0])
                if any(document.id == stable for document in page.documents):
                    assert face.get(context, stable).document.id == stable
                assert face.status(context).rows >= len(page.documents) - 2 * _ROWS
                if done.is_set():
                    return reads
            return 0

        with ThreadPoolExecutor(READING + 1) as threads:
            writing = threads.submit(write)
            readers = [threads.submit(read, reader) for reader in range(READING)]
            writing.result()
            for reader in readers:
                findings.answers["sync"] += reader.result()
        assert world.faults() == faults
