"""What an examination of an installation finds."""

from __future__ import annotations

from enum import Enum

from attrs import frozen


class State(Enum):
    """What a check came to.

    ``OK``: as it should be. ``WARNING``: commands do their work, but not for long or not as wished.
    ``ERROR``: commands cannot do their work, or give wrong answers. ``SKIPPED``: nothing is known.
    """

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    SKIPPED = "skipped"


@frozen
class Check:
    """One check: whatever is not as it should be comes with what to do about it.

    Attributes:
        name: Stable name of what was looked at, such as ``store.lock``.
        state: See :class:`State`.
        finding: What was found, for a person.
        remedy: What to do; ``None`` if and only if the state is ``OK``.
    """

    name: str
    state: State
    finding: str
    remedy: str | None = None

    def __attrs_post_init__(self) -> None:
        if (self.remedy is None) != (self.state is State.OK):
            raise ValueError(f"{self.name}: a remedy, unless all is well: {self.finding}")


def skipped(name: str, because_of: str) -> Check:
    """A check that cannot be made before another one is ok."""
    return Check(
        name, State.SKIPPED, f"needs {because_of} to be ok", f"First do what {because_of} says."
    )
