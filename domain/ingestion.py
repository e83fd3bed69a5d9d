"""How far one push has come, as whoever has sent it is told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from attrs import evolve, field, frozen

HISTORY: Final = 100
"""Ingestions of one identity that an installation remembers: those that began last."""

SILENCE: Final = timedelta(minutes=5)
"""One that goes on and has not been heard of for so long is taken for interrupted."""


class IngestionState(StrEnum):
    """What has become of an ingestion.

    ``RUNNING``: it goes on. ``FINISHED``: all of it has been carried out. ``FAILED``: it was
    refused or broke off, with an error. ``INTERRUPTED``: it was cancelled, or its process has ended
    or has been silent for :data:`SILENCE`. The same push, sent again, goes on where it was.
    """

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@frozen
class IngestionStatus:
    """One ingestion.

    Attributes:
        ingestion_id: Its random name, which only the identity that has sent it can use.
        repo_slug: The repository that is written.
        state: See :class:`IngestionState`.
        phase: What is being done, or was done last, for a person.
        done: Steps of the phase that are done.
        total: Steps that the phase has, where that is known.
        started_at: Aware instant of its beginning.
        updated_at: Aware instant at which all this was so.
        counts: Once it has finished, the numbers of its report, by their names there.
        error: The code of the error by which it has failed.
    """

    ingestion_id: str
    repo_slug: str
    state: IngestionState
    phase: str
    done: int
    total: int | None
    started_at: datetime
    updated_at: datetime
    counts: Mapping[str, int] = field(factory=dict, hash=False)
    error: str | None = None

    def seen_at(self, now: datetime) -> IngestionStatus:
        """What is to be believed of it at ``now``."""
        if self.state is IngestionState.RUNNING and now - self.updated_at > SILENCE:
            return evolve(self, state=IngestionState.INTERRUPTED)
        return self
