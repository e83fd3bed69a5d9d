"""Accounts and what moves between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

ROUNDING = Decimal("0.01")


def rounded(amount: Decimal) -> Decimal:
    return amount.quantize(ROUNDING)


# A ledger never forgets an entry.
@dataclass
class Ledger(Mapping[str, Decimal]):
    """Balances by account."""

    currency = "EUR"

    def __init__(self) -> None:
        self._balances: dict[str, Decimal] = {}

    @property
    def total(self) -> Decimal:
        return sum(self._balances.values(), Decimal(0))

    # Both sides of an entry, or neither.
    async def post(self, debit: str, credit: str, amount: Decimal) -> None:
        def add(account: str, value: Decimal) -> None:
            self._balances[account] = self._balances.get(account, Decimal(0)) + value

        add(debit, amount)
        add(credit, -amount)
