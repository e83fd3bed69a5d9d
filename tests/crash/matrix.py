"""The crash matrix: kill a command at a moment of its writing, run it again, look at what is there.

Run as ``python -m tests.crash --store sqlite --kills 300``. Every job is run once to count what it
does to its files, and then again and again from the same beginning, killed with ``kill -9`` at
another of these events each time (a write that is hit is torn) or, for a server's client, at a
random moment. After each kill the same command is given once more, as an operator would, and the
rows are compared with those of a run that nobody disturbed: fields, stamps and ids, each row's
vector bit by bit where the store promises that, and each row as the nearest neighbour of its own
vector.

``kill -9`` proves nothing about a loss of power: what the process has written, the kernel has.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from attrs import define, field, frozen

from tenantkb.adapters.configuration.settings import StoreSettings
from tenantkb.adapters.stores.registry import open_engine
from tenantkb.domain import fields
from tenantkb.domain.ids import RowKey
from tenantkb.domain.selection import Selection
from tenantkb.ports.engine import Engine
from tests.servers import Address, chroma_process

COMMAND: Final = str(Path(sysconfig.get_path("scripts")) / "tenantkb")
GOLDEN: Final = Path(__file__).parents[1] / "golden" / "mini-neo-workspace"
SOURCE: Final = Path(__file__).with_name("interpose.c")
_SECONDS: Final = 120
_NEAR: Final = 1 - 1e-5

Rows = dict[RowKey, tuple[dict[str, Any], bytes]]


def interposer(folder: Path) -> Path | None:
    """The library that counts and kills, compiled; ``None`` where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        return None
    library = folder / "interpose.so"
    if not library.exists():
        arguments = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run(arguments, check=True)
    return library


@frozen
class Bench:
    """Where one store is tried.

    Attributes:
        kind: Of the store.
        folder: Everything lies below it: ``store`` is the store, ``work`` what is synchronised.
        address: Of the server, where there is one.
    """

    kind: str
    folder: Path
    address: Address | None = None

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def environment(self) -> dict[str, str]:
        """What the command is told by variables."""
        told = {
            "TENANTKB_STORE_KIND": self.kind,
            "TENANTKB_STORE_PATH": str(self.store),
            "TENANTKB_EMBEDDER_KIND": "hashing",
            "TENANTKB_SYNC_BATCH_SIZE": "32",
            "TENANTKB_TENANT": "acme",
            "TENANTKB_AGENT": "ada",
            "TENANTKB_ROLES": "operator,curator",
        }
        if self.address is not None:
            told["TENANTKB_STORE_HOST"] = self.address.host
            told["TENANTKB_STORE_PORT"] = str(self.address.port)
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith("TENANTKB_")
        }
        return {**inherited, **told}

    def command(
        self, *arguments: str, extra: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start the installed command."""
        return subprocess.Popen(
            [COMMAND, *arguments],
            env={**self.environment(), **(extra or {})},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, *arguments: str, extra: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Run the installed command to its end: its code and what it said."""
        process = self.command(*arguments, extra=extra)
        said, _ = process.communicate(timeout=_SECONDS)
        return process.returncode, said.decode(errors="replace")

    def must(self, *arguments: str) -> None:
        """Run the installed command, which has to succeed."""
        code, said = self.run(*arguments)
        if code:
            raise AssertionError(f"{arguments}: exit code {code}: {said}")

    def engine(self) -> Engine:
        """The store itself, to look into it."""
        settings = StoreSettings(kind=self.kind, path=self.store)
        if self.address is not None:
            settings = StoreSettings(
                kind=self.kind, path=self.store, host=self.address.host, port=self.address.port
            )
        return open_engine(settings)


def contents(bench: Bench) -> Rows:
    """Every row, without the instant of its write, and the bytes of its vector."""
    with closing(bench.engine()) as engine:
        found: Rows = {}
        for raw, vector in engine.export():
            if raw.key in found:
                raise AssertionError(f"row {raw.key} is there twice")
            kept = {key: raw.metadata[key] for key in raw.metadata if key != fields.INGESTED_AT}
            found[raw.key] = kept, vector.tobytes()
        for key, (_, data) in found.items():
            vector = np.frombuffer(data, np.float32)
            near = engine.nearest(Selection((key.label,), {}), vector, 5)
            if not near or near[0][1] < _NEAR:
                raise AssertionError(f"row {key} is not its own nearest neighbour: {near[:1]}")
        return found


def differences(found: Rows, wanted: Rows, *, exact: bool) -> list[str]:
    """What is lost, doubled or wrong."""
    told = [f"lost: {key}" for key in wanted if key not in found]
    told += [f"not wanted: {key}" for key in found if key not in wanted]
    for key in wanted.keys() & found.keys():
        (metadata, data), (right, bits) = found[key], wanted[key]
        if metadata != right:
            told.append(f"wrong fields: {key}")
        one, other = np.frombuffer(data, np.float32), np.frombuffer(bits, np.float32)
        if data != bits if exact else float(one @ other) < _NEAR:
            told.append(f"wrong vector: {key}")
    return told


@frozen
class Job:
    """A command that is killed.

    Attributes:
        name: What it does.
        prepare: Makes the beginning.
        arguments: Of the command.
        file: What it makes outside of the store, which has to be whole.
    """

    name: str
    prepare: Callable[[Bench], None]
    arguments: Callable[[Bench], tuple[str, ...]]
    file: str | None = None


def workspace(bench: Bench) -> None:
    """The example workspace, as it is."""
    shutil.rmtree(bench.work, ignore_errors=True)
    shutil.copytree(GOLDEN, bench.work)


def _synced(bench: Bench) -> None:
    workspace(bench)
    bench.must("sync", str(bench.work), "--repo", "app")


def _edited(bench: Bench) -> None:
    """A file is gone, and every other guide says more."""
    _synced(bench)
    guides = sorted(bench.work.glob("learn/**/*.md"))
    guides[0].unlink()
    for guide in guides[1::2]:
        guide.write_text(guide.read_text() + "\n## More\n\nThis was added.\n")


def _private(bench: Bench) -> None:
    _synced(bench)


def _extracted(bench: Bench) -> None:
    workspace(bench)
    bench.must("create", str(bench.work), "-o", str(bench.folder / "chunks.jsonl"))


def _exported(bench: Bench) -> None:
    _synced(bench)
    bench.must("backup", "export", str(bench.folder / "rows.jsonl"))
    bench.must("backup", "truncate", "--confirm", "knowledge-base")


def _listed(bench: Bench) -> None:
    _synced(bench)
    signal_ = {"manifestSnapshot": {"repoSlug": "app", "pathsAfterPush": ["learn/tree.json"]}}
    (bench.folder / "manifest.json").write_text(json.dumps(signal_))


JOBS: Final = (
    Job("sync", workspace, lambda bench: ("sync", str(bench.work), "--repo", "app")),
    Job("sync again", _edited, lambda bench: ("sync", str(bench.work), "--repo", "app")),
    Job(
        "sync as private",
        _private,
        lambda bench: ("sync", str(bench.work), "--repo", "app", "--visibility", "private"),
    ),
    Job(
        "embed",
        _extracted,
        lambda bench: ("embed", str(bench.folder / "chunks.jsonl"), "--repo", "app"),
    ),
    Job(
        "delete",
        _listed,
        lambda bench: (
            *("delete", "--repo", "app", "--yes"),
            *("--manifest", str(bench.folder / "manifest.json")),
        ),
    ),
    Job("import", _exported, lambda bench: ("backup", "import", str(bench.folder / "rows.jsonl"))),
    Job(
        "export",
        _synced,
        lambda bench: ("backup", "export", str(bench.folder / "rows.jsonl")),
        file="rows.jsonl",
    ),
    Job(
        "truncate",
        _synced,
        lambda bench: ("backup", "truncate", "--confirm", "knowledge-base"),
    ),
)


@define
class Tally:
    """What became of the kills of one job.

    Attributes:
        job: Its name.
        events: How many moments there are at which it could be killed.
        kills: How often it was.
        finished: How often it was done before it could be killed.
        told: How often the same command then said that something has to be repaired first.
        wrong: What was not as it should be afterwards.
    """

    job: str
    events: int = 0
    kills: int = 0
    finished: int = 0
    told: int = 0
    wrong: list[str] = field(factory=list)

    def __str__(self) -> str:
        return (
            f"{self.job:<18}{self.events:>8}{self.kills:>8}{self.finished:>10}{self.told:>9}"
            f"{len(self.wrong):>7}"
        )


HEADER: Final = f"{'job':<18}{'events':>8}{'kills':>8}{'finished':>10}{'repairs':>9}{'wrong':>7}"


@contextmanager
def bench_of(kind: str, folder: Path) -> Iterator[Bench]:
    """A place for one store; a server is started where it needs one."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind != "chroma-http":
        yield Bench(kind, folder)
        return
    with chroma_process(folder / "server") as address:
        yield Bench(kind, folder, address)


def try_job(bench: Bench, job: Job, kills: int, library: Path | None, seed: int) -> Tally:
    """Kill one job so many times, at moments that are spread over its course."""
    tally = Tally(job.name)
    begin = bench.folder.with_name(f"{bench.folder.name}-begin")
    _empty(bench)
    job.prepare(bench)
    _snapshot(bench, begin)
    count, log = 0, bench.folder / "events"
    started = time.monotonic()
    if library is not None and bench.address is None:
        told = {
            "LD_PRELOAD": str(library),
            "CRASH_FOLDER": str(bench.folder),
            "CRASH_LOG": str(log),
        }
        code, said = bench.run(*job.arguments(bench), extra=told)
        count = max((int(line) for line in log.read_text().split()), default=0)
    else:
        code, said = bench.run(*job.arguments(bench))
    seconds = time.monotonic() - started
    if code:
        raise AssertionError(f"{job.name}, undisturbed: exit code {code}: {said}")
    wanted, product = contents(bench), _product(bench, job)
    tally.events = count
    chance = random.Random(f"{seed} {job.name}")  # moments, not secrets
    for number in range(kills):
        _rewind(bench, begin)
        if count:
            moment = 1 + (number * count + chance.randrange(count)) // kills
            extra = {
                "LD_PRELOAD": str(library),
                "CRASH_FOLDER": str(bench.folder),
                "CRASH_AT": str(min(moment, count)),
            }
            code, said = bench.run(*job.arguments(bench), extra=extra)
            where = f"event {moment} of {count}"
        else:
            process = bench.command(*job.arguments(bench))
            delay = chance.uniform(0.2, 1.0) * seconds
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            code, where = process.returncode, f"after {delay:.2f} s"
        if code == -signal.SIGKILL:
            tally.kills += 1
        else:
            tally.finished += 1
        _judge(bench, job, tally, wanted, product, where)
    return tally


def _judge(
    bench: Bench, job: Job, tally: Tally, wanted: Rows, product: bytes | None, where: str
) -> None:
    """The same command has to finish the job, or to say what has to be done first."""
    code, said = bench.run(*job.arguments(bench))
    if code and "repair" in said:
        tally.told += 1
        repaired, told = bench.run("repair")
        if repaired:
            tally.wrong.append(f"{job.name}, {where}: repair: exit code {repaired}: {told[-500:]}")
            return
        code, said = bench.run(*job.arguments(bench))
    if code:
        tally.wrong.append(f"{job.name}, {where}: exit code {code}: {said[-500:]}")
        return
    try:
        found = differences(contents(bench), wanted, exact=bench.kind == "sqlite")
    except Exception as error:  # whatever it is, the store is not sound
        found = [f"{type(error).__name__}: {error}"]
    if product is not None and _rows_of(_product(bench, job)) != _rows_of(product):
        found.append(f"{job.file} is not whole")
    tally.wrong += [f"{job.name}, {where}: {each}" for each in found[:3]]


def _rows_of(product: bytes | None) -> set[str]:
    return {json.loads(line)["id"] for line in (product or b"").splitlines()}


def _product(bench: Bench, job: Job) -> bytes | None:
    return None if job.file is None else (bench.folder / job.file).read_bytes()


def _empty(bench: Bench) -> None:
    """Nothing is stored, and nothing lies about."""
    for entry in bench.folder.iterdir():
        if entry.name == "server":
            continue
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    if bench.address is not None:
        bench.run("backup", "truncate", "--confirm", "knowledge-base")


def _snapshot(bench: Bench, begin: Path) -> None:
    shutil.rmtree(begin, ignore_errors=True)
    shutil.copytree(bench.folder, begin, ignore=shutil.ignore_patterns("server"))
    if bench.address is not None and (begin / "rows").exists():
        (begin / "rows").unlink()
    if bench.address is not None:
        bench.must("backup", "export", str(begin / "begin.backup"))


def _rewind(bench: Bench, begin: Path) -> None:
    """Back to the beginning."""
    _empty(bench)
    shutil.copytree(begin, bench.folder, dirs_exist_ok=True)
    if bench.address is not None:
        bench.must("backup", "import", str(begin / "begin.backup"))


def run(
    kind: str, kills: int, folder: Path, seed: int, jobs: tuple[Job, ...] = JOBS
) -> list[Tally]:
    """Try every job on one store; prints a line for each."""
    library = interposer(folder)
    tallies = []
    print(f"{kind}, about {kills} kills, seed {seed}\n{HEADER}", flush=True)
    with bench_of(kind, folder / kind) as bench:
        for job in jobs:
            tally = try_job(bench, job, -(-kills // len(jobs)), library, seed)
            print(tally, flush=True)
            for line in tally.wrong:
                print(f"  {line}", flush=True)
            tallies.append(tally)
    return tallies
