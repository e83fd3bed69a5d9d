"""``python -m tests.crash``: the crash matrix as a command."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.crash.matrix import JOBS, STORES, run


def main() -> int:
    """Run it, and say by the exit code whether everything was as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", action="append", choices=STORES)
    parser.add_argument("--kills", type=int, default=300, help="for each store")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--job", action="append", choices=JOBS, help="default: all")
    parser.add_argument("--jobs", type=int, default=2, help="how many jobs are tried at once")
    options = parser.parse_args()
    wrong = 0
    for store in options.store or STORES:
        with tempfile.TemporaryDirectory(prefix="tenantkb-crash-") as folder:
            tallies = run(
                store,
                options.kills,
                Path(folder),
                seed=options.seed,
                jobs=options.job or (),
                processes=options.jobs,
            )
        kills = sum(tally.kills for tally in tallies)
        repairs = sum(tally.told for tally in tallies)
        found = sum(len(tally.wrong) for tally in tallies)
        print(f"{store}: {kills} kills, {repairs} repairs that were asked for, {found} wrong\n")
        wrong += found + (repairs if store == "sqlite" else 0)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
