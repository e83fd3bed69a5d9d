"""How this process is called where others wait for it."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path

from tenantkb.domain.stamps import format_instant


def name_of_this_process() -> str:
    """Who, where, which process, which command, and the present instant as its "since".

    Of the command only its name and first word: further arguments may hold secrets.
    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    words = [Path(sys.argv[0]).name, *(word for word in sys.argv[1:2] if not word.startswith("-"))]
    since = format_instant(datetime.now(UTC))
    return f"{user}@{socket.gethostname()}, pid {os.getpid()} ({' '.join(words)}), since {since}"
