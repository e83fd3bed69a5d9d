"""How far a long run has come."""

from __future__ import annotations

from typing import Final, Protocol


class Progress(Protocol):
    """Takes notice of phases and steps; purely informative."""

    def phase(self, name: str, total: int | None = None) -> None:
        """A new phase begins, of ``total`` steps where that is known."""
        ...

    def expect(self, steps: int) -> None:
        """The current phase has so many more steps than was known."""
        ...

    def advance(self, steps: int = 1) -> None:
        """Some steps of the current phase are done."""
        ...


class _Silent:
    """Progress that nobody looks at."""

    def phase(self, name: str, total: int | None = None) -> None:
        """Nothing happens."""

    def expect(self, steps: int) -> None:
        """Nothing happens."""

    def advance(self, steps: int = 1) -> None:
        """Nothing happens."""


SILENT: Final[Progress] = _Silent()
"""For callers that do not want to know."""
