"""The fail-closed suite: the whole application around a store, and everything that could leak."""

from __future__ import annotations

from tenantkb.testing.fail_closed.broken import Sabotage
from tenantkb.testing.fail_closed.cases import Cases, NoStanding
from tenantkb.testing.fail_closed.deletions import Deletions
from tenantkb.testing.fail_closed.diagnosis import Diagnosis
from tenantkb.testing.fail_closed.discovery import Discovery
from tenantkb.testing.fail_closed.forged import Forged
from tenantkb.testing.fail_closed.non_interference import NonInterference
from tenantkb.testing.fail_closed.operators import Operators
from tenantkb.testing.fail_closed.pushes import Pushes
from tenantkb.testing.fail_closed.random_writes import RandomWrites
from tenantkb.testing.fail_closed.signals import Signals
from tenantkb.testing.fail_closed.tampering import Tampering
from tenantkb.testing.fail_closed.threads import Threads
from tenantkb.testing.fail_closed.writes import Expiry, Writes


class FailClosedSuite(
    Discovery,
    Cases,
    NoStanding,
    Writes,
    Expiry,
    Deletions,
    Signals,
    Pushes,
    Diagnosis,
    Forged,
    Operators,
    Tampering,
    Sabotage,
    RandomWrites,
    NonInterference,
    Threads,
):
    """No row reaches whom it does not belong to, whatever is sent, stored, broken or forged.

    It needs the fixtures of :class:`~tenantkb.testing.StoreSuite`, and the plugin
    :mod:`tenantkb.testing.plugin`, which knows its marks. The docstring of every test says what to
    do when it fails.
    """
