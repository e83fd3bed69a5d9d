"""Arguments of what reads, which transports pass on as they come."""

from __future__ import annotations

from tenantkb.domain.errors import InvalidInputError


def require_whole_number(name: str, value: object, minimum: int, maximum: int) -> None:
    """Refuse what is no ``int`` from ``minimum`` to ``maximum``; ``True`` is none.

    Raises:
        InvalidInputError: it is none; the message calls it ``name``.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise InvalidInputError(f"the {name} is a whole number from {minimum} to {maximum:,}")
