"""The crash matrix: kill a command at a moment of its writing, run it again, look at what is there.

Run as ``python -m tests.crash --store sqlite --kills 300``. Every job is run once to count what it
does to its files, and then again and again from the same beginning, killed with ``kill -9`` at
another of these events each time (a write that is hit is torn). Where a server has the files, its
client is killed at a random moment, or else the server at one of its own events, which is then
started again. After each kill the same command is given once more, as an operator would, and the
rows are compared with those of a run that nobody disturbed: fields, stamps and ids, each row's
vector bit by bit where the store promises that, each row as the nearest neighbour of its own
vector, and the postings of every word.

``kill -9`` proves nothing about a loss of power: what the process has written, the kernel has.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from multiprocessing import forkserver, get_context
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
from attrs import define, field, frozen

from tenantkb.adapters.configuration.settings import StoreSettings
from tenantkb.adapters.embedders.hashing import HashingEmbedder
from tenantkb.adapters.stores.chroma.engine import ChromaEngine, connect
from tenantkb.adapters.stores.registry import open_engine
from tenantkb.domain import fields
from tenantkb.domain.ids import RowKey
from tenantkb.domain.lexical import terms_of
from tenantkb.domain.selection import Selection
from tenantkb.ports.engine import Engine, Lexical, RawRow
from tenantkb.testing.primitives import lexical_facts, lexical_rule
from tests.crash import push
from tests.end_to_end import launcher

COMMAND: Final = str(Path(sysconfig.get_path("scripts")) / "tenantkb")
GOLDEN: Final = Path(__file__).parents[1] / "golden" / "mini-neo-workspace"
SOURCE: Final = Path(__file__).with_name("interpose.c")
STORES: Final = ("sqlite", "chroma", "chroma-http", "chroma-server")
"""``chroma-server`` is ``chroma-http``, where the server is killed instead of its client."""

_PUSH: Final = "(push)"
"""In the place of a command: what :mod:`tests.crash.push` does."""

_SECONDS: Final = 120
_NEAR: Final = 1 - 1e-5
_SYNC_THRESHOLD: Final = 16
"""Chroma's default lets the rows of the example wait in its log, where nothing tears them."""

Rows = dict[RowKey, tuple[dict[str, Any], bytes]]


def compiler() -> str | None:
    """What makes the library that kills; ``None`` where moments have to be left to chance."""
    return (shutil.which("cc") or shutil.which("gcc")) if sys.platform == "linux" else None


def interposer(folder: Path) -> Path | None:
    """The library that counts and kills, made if it can be."""
    found = compiler()
    if found is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / "interpose.so"
    arguments = [found, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(arguments, check=True)
    return library


@define
class Server:
    """A Chroma server that can be killed and started again on the same files."""

    folder: Path
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None

    def start(self, extra: Mapping[str, str] | None = None) -> None:
        """Start it with some more variables and wait until it answers; the port stays the same."""
        if not self.port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [str(Path(sys.executable).with_name("chroma")), "run", "--path", str(self.folder)]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        self._process = subprocess.Popen(
            command,
            env={**os.environ, **(extra or {})},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/api/v2/heartbeat").is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise RuntimeError("the Chroma server does not come up")

    def stop(self) -> bool:
        """End it; whether it was still there."""
        if self._process is None:
            return False
        was_there = self._process.poll() is None
        self._process.terminate()
        self._process.wait()
        self._process = None
        return was_there


@frozen
class Bench:
    """Where one job is tried on one store.

    Attributes:
        name: Of :data:`STORES`.
        folder: Everything lies below it.
        server: Where there is one.
    """

    name: str
    folder: Path
    server: Server | None = None

    @property
    def live(self) -> Path:
        """Where the command runs; what it does to the files here is counted."""
        return self.folder / "live"

    @property
    def store(self) -> Path:
        return self.live / "store"

    @property
    def work(self) -> Path:
        """What is synchronised; no command changes it."""
        return self.folder / "work"

    def settings(self) -> StoreSettings:
        """Of the store."""
        if self.server is not None:
            port = self.server.port
            return StoreSettings(kind="chroma-http", path=self.store, host="127.0.0.1", port=port)
        options = {"sync_threshold": _SYNC_THRESHOLD} if self.name == "chroma" else {}
        return StoreSettings(kind=self.name, path=self.store, options=options)

    def engine(self) -> Engine:
        """The store itself, to look into it."""
        return open_engine(self.settings())

    def environment(self) -> dict[str, str]:
        """What the command is told by variables, and by the file of its configuration."""
        settings = self.settings()
        configuration = self.folder / "tenantkb.toml"
        options = "".join(f"{key} = {value}\n" for key, value in settings.options.items())
        configuration.write_text(f"[store.options]\n{options}")
        told = {
            "TENANTKB_CONFIG": str(configuration),
            "TENANTKB_STORE_KIND": settings.kind,
            "TENANTKB_STORE_PATH": str(settings.path),
            "TENANTKB_STORE_HOST": settings.host,
            "TENANTKB_STORE_PORT": str(settings.port),
            "TENANTKB_EMBEDDER_KIND": "hashing",
            "TENANTKB_SYNC_BATCH_SIZE": "32",
            "TENANTKB_TENANT": "acme",
            "TENANTKB_AGENT": "ada",
            "TENANTKB_ROLES": "operator,curator",
        }
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith("TENANTKB_")
        }
        return {**inherited, **told}

    def run(self, *arguments: str, extra: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Run the command to its end: its code, or minus the signal, and what it said."""
        said = self.folder / "said"
        said.mkdir(exist_ok=True)
        environment = {**self.environment(), **(extra or {})}
        if arguments[0] == _PUSH:
            code = launcher.launch(arguments[1:], self.live, environment, said, push.main)
        else:
            code = launcher.launch(arguments, self.live, environment, said)
        return code, "".join((said / stream).read_text() for stream in ("out", "err"))

    def must(self, *arguments: str, extra: Mapping[str, str] | None = None) -> None:
        """Run the command, which has to succeed."""
        code, said = self.run(*arguments, extra=extra)
        if code:
            raise AssertionError(f"{arguments}: exit code {code}: {said}")


@contextmanager
def bench_of(name: str, folder: Path) -> Iterator[Bench]:
    """A place for one job; a server is started where the store needs one."""
    (folder / "live").mkdir(parents=True)
    if name in ("sqlite", "chroma"):
        yield Bench(name, folder)
        return
    server = Server(folder / "server")
    server.start()
    try:
        yield Bench(name, folder, server)
    finally:
        server.stop()


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
            vector = np.asarray(vector / np.linalg.norm(vector), np.float32)
            near = engine.nearest(Selection((key.label,), {}), vector, 5)
            if not near or near[0][1] < _NEAR:
                raise AssertionError(f"row {key} is not its own nearest neighbour: {near[:1]}")
        require_words(engine, (RawRow(*key, metadata) for key, (metadata, _) in found.items()))
        return found


def require_words(engine: Engine, rows: Iterable[RawRow]) -> None:
    """Every row is found by each of its words, and nothing is counted that is no row."""
    by_label: dict[str, list[RawRow]] = {}
    for row in rows:
        by_label.setdefault(row.label, []).append(row)
    for label, of_label in by_label.items():
        terms = sorted({term for row in of_label for term in terms_of(row.metadata)})
        selection = Selection((label,), {})
        kept = engine.postings(selection, terms) if isinstance(engine, Lexical) else None
        if kept is None or lexical_facts(kept) != lexical_rule(of_label, selection, terms):
            raise AssertionError(f"the postings of {label} are not those of its rows")


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
        prepare: Makes the beginning.
        arguments: Of the command.
        file: What it makes outside of the store, which has to be whole.
        stores: Those it is for.
    """

    prepare: Callable[[Bench], None]
    arguments: Callable[[Bench], tuple[str, ...]]
    file: str | None = None
    stores: Sequence[str] = STORES


def _workspace(bench: Bench) -> None:
    """The example workspace, as it is."""
    shutil.copytree(GOLDEN, bench.work)


def _synced(bench: Bench) -> None:
    _workspace(bench)
    bench.must("sync", str(bench.work), "--repo", "app")


def _edited(bench: Bench) -> None:
    """A file is gone, and every other guide says more."""
    _synced(bench)
    guides = sorted(bench.work.glob("learn/**/*.md"))
    guides[0].unlink()
    for guide in guides[1::2]:
        guide.write_text(guide.read_text() + "\n## More\n\nThis was added.\n")


def _extracted(bench: Bench) -> None:
    _workspace(bench)
    bench.must("create", str(bench.work), "-o", str(bench.folder / "chunks.jsonl"))


def _exported(bench: Bench) -> None:
    _synced(bench)
    bench.must("backup", "export", str(bench.folder / "rows.jsonl"))
    bench.must("backup", "truncate", "--confirm", "knowledge-base")


def _listed(bench: Bench) -> None:
    _synced(bench)
    told = {"manifestSnapshot": {"repoSlug": "app", "pathsAfterPush": ["learn/tree.json"]}}
    (bench.folder / "manifest.json").write_text(json.dumps(told))


def _changed(bench: Bench) -> None:
    """A push that changes some files, and says that others are gone."""
    _synced(bench)
    paths = {path: os.path.relpath(path, bench.work) for path in bench.work.rglob("*.*")}
    guides = sorted(bench.work.glob("learn/**/*.md"))
    files = [
        {"path": paths[guide], "content": f"{guide.read_text()}\n## More\n\nThis was added.\n"}
        for guide in guides[1::2]
    ]
    left = sorted(paths[path] for path in paths.keys() - set(guides[::6]) if path.is_file())
    snapshot = {"repoSlug": "app", "pathsAfterPush": left}
    told = {"repoSlug": "app", "files": files, "headRevision": "1", "manifestSnapshot": snapshot}
    (bench.folder / "push.json").write_text(json.dumps(told))


def _of_version_0_1(bench: Bench) -> None:
    from tenantkb.adapters.stores.chroma.connection import client_on
    from tests.conformance.test_chroma_format1 import written

    client = client_on(bench.folder / "earlier")
    written(client)
    client.close()


def _sync(bench: Bench) -> tuple[str, ...]:
    return ("sync", str(bench.work), "--repo", "app")


JOBS: Final[Mapping[str, Job]] = {
    "sync": Job(_workspace, _sync),
    "sync again": Job(_edited, _sync),
    "sync as private": Job(_synced, lambda bench: (*_sync(bench), "--visibility", "private")),
    "embed": Job(
        _extracted,
        lambda bench: ("embed", str(bench.folder / "chunks.jsonl"), "--repo", "app"),
    ),
    "delete": Job(
        _listed,
        lambda bench: (
            *("delete", "--repo", "app", "--yes"),
            *("--manifest", str(bench.folder / "manifest.json")),
        ),
    ),
    "push": Job(
        _changed,
        lambda bench: (_PUSH, str(bench.folder / "push.json")),
        stores=("sqlite", "chroma"),
    ),
    "import": Job(_exported, lambda bench: ("backup", "import", str(bench.folder / "rows.jsonl"))),
    "export": Job(
        _synced,
        lambda bench: ("backup", "export", str(bench.live / "rows.jsonl")),
        file="rows.jsonl",
        stores=("sqlite", "chroma", "chroma-http"),
    ),
    "truncate": Job(
        _synced,
        lambda _: ("backup", "truncate", "--confirm", "knowledge-base"),
    ),
    "migrate": Job(
        _of_version_0_1,
        lambda bench: ("migrate", "--from", f"chroma:{bench.folder / 'earlier'}"),
        stores=("sqlite",),
    ),
}


@define
class Tally:
    """What became of the kills of one job.

    Attributes:
        job: Its name.
        events: How many moments there are at which it could be killed.
        kills: How often something was.
        finished: How often it was done before.
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


def try_job(
    store: str, kills: int, seed: int, folder: Path, library: Path | None, name: str
) -> Tally:
    """Kill one job so many times, at moments that are spread over its course."""
    _load(library if store in ("sqlite", "chroma") else None, store)
    job, tally = JOBS[name], Tally(name)
    with bench_of(store, folder / name.replace(" ", "-")) as bench:
        if bench.server is not None:
            connection = connect(bench.settings())
            with closing(ChromaEngine(connection, sync_threshold=_SYNC_THRESHOLD)) as engine:
                engine.bind(HashingEmbedder().profile)
        job.prepare(bench)
        begin, killer = _Beginning(bench), _Killer(bench, job, library)
        tally.events = killer.count()
        wanted, product = contents(bench), _product(bench, job)
        chance = random.Random(f"{seed} {name}")  # moments, not secrets
        for number in range(kills):
            begin.again()
            killed, when = killer.kill((number + chance.random()) / kills)
            tally.kills += killed
            tally.finished += not killed
            tally.wrong += [
                f"{name}, {when}: {each}" for each in _judged(bench, job, tally, wanted, product)
            ]
    return tally


@define
class _Killer:
    """Gives the command of a job, and kills it, or the server that it talks to.

    Attributes:
        bench: Where.
        job: The job.
        library: The interposer; without it, commands are killed by the clock.
    """

    bench: Bench
    job: Job
    library: Path | None
    _before: int = 0
    _events: int = 0
    _seconds: float = 0.0

    def count(self) -> int:
        """Run the job to its end; returns its events, 0 where they cannot be counted."""
        log = self.bench.folder / "events"
        if self._kills_server and self.bench.server is not None:
            self._restart(CRASH_LOG=str(log))
            self._before = _size(log)  # what the server does when it starts
        started = time.monotonic()
        extra = {} if self.bench.server else self._told(CRASH_LOG=str(log))
        self.bench.must(*self.job.arguments(self.bench), extra=extra)
        self._seconds = time.monotonic() - started
        self._events = _size(log) - self._before
        return self._events

    def kill(self, share: float) -> tuple[bool, str]:
        """Begin the job and kill; returns whether it was in time, and when it was.

        Args:
            share: Of the events, or of the time, that comes before; from 0 to 1.
        """
        arguments = self.job.arguments(self.bench)
        if not self._events:
            delay = share * self._seconds
            return self._kill_in_time(arguments, delay), f"after {delay:.2f} s"
        event = 1 + int(share * self._events)
        told = {"CRASH_AT": str(self._before + event)}
        if self._kills_server and self.bench.server is not None:
            self._restart(**told)
            self.bench.run(*arguments)
            killed = not self.bench.server.stop()
            self.bench.server.start()
        else:
            code, _ = self.bench.run(*arguments, extra=self._told(**told))
            killed = code == -signal.SIGKILL
        return killed, f"event {event}"

    @property
    def _kills_server(self) -> bool:
        return self.bench.name == "chroma-server" and self.library is not None

    def _told(self, **told: str) -> dict[str, str]:
        """Variables for the interposer."""
        folder = self.bench.live if self.bench.server is None else self.bench.server.folder
        return {"CRASH_FOLDER": f"{folder}{os.sep}", **told}

    def _restart(self, **told: str) -> None:
        """Start the server anew, with the interposer."""
        if self.bench.server is not None:
            self.bench.server.stop()
            self.bench.server.start({**self._told(**told), "LD_PRELOAD": str(self.library)})

    def _kill_in_time(self, arguments: Sequence[str], delay: float) -> bool:
        command = [COMMAND, *arguments]
        if arguments[0] == _PUSH:
            command = [sys.executable, str(push.__file__), *arguments[1:]]
        with subprocess.Popen(
            command,
            env=self.bench.environment(),
            cwd=self.bench.live,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            time.sleep(delay)
            process.kill()
        return process.returncode == -signal.SIGKILL


class _Beginning:
    """What a job begins with, to be had again after each kill."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._kept = bench.folder / "begin"
        self._stop()
        for part in self._parts():
            if part.exists():
                shutil.copytree(part, self._kept / part.name)
        self._start()

    def again(self) -> None:
        """Everything as at the beginning."""
        self._stop()
        for part in (self._bench.live, *self._parts()):
            shutil.rmtree(part, ignore_errors=True)
        self._bench.live.mkdir()
        for part in self._parts():
            if (self._kept / part.name).exists():
                shutil.copytree(self._kept / part.name, part)
        self._start()

    def _parts(self) -> list[Path]:
        return [self._bench.store, *([self._bench.server.folder] if self._bench.server else [])]

    def _stop(self) -> None:
        if self._bench.server is not None:
            self._bench.server.stop()

    def _start(self) -> None:
        if self._bench.server is not None:
            self._bench.server.start()


def _load(library: Path | None, store: str) -> None:
    """Start the process whose forks are the commands: with the library, and Chroma imported."""
    context = get_context("forkserver")
    preloaded = [launcher.__name__] + ["chromadb"] * (store != "sqlite")
    context.set_forkserver_preload(preloaded)
    if library is not None:
        os.environ["LD_PRELOAD"] = str(library)
    forkserver.ensure_running()
    os.environ.pop("LD_PRELOAD", None)


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _judged(
    bench: Bench, job: Job, tally: Tally, wanted: Rows, product: set[str] | None
) -> list[str]:
    """The same command has to finish the job, or to say what has to be done first."""
    code, said = bench.run(*job.arguments(bench))
    if code and "repair" in said:
        tally.told += 1
        repaired, told = bench.run("repair")
        if repaired:
            return [f"repair: exit code {repaired}: {told[-500:]}"]
        code, said = bench.run(*job.arguments(bench))
    if code:
        return [f"exit code {code}: {said[-500:]}"]
    try:
        found = differences(contents(bench), wanted, exact=bench.name == "sqlite")
    except Exception as error:  # whatever it is, the store is not sound
        found = [f"{type(error).__name__}: {error}"]
    if _product(bench, job) != product:
        found.append(f"{job.file} is not whole")
    return found[:3]


def _product(bench: Bench, job: Job) -> set[str] | None:
    """The rows of the file that the job makes."""
    if job.file is None:
        return None
    lines = (bench.live / job.file).read_bytes().splitlines()
    return {json.loads(line)["id"] for line in lines}


def run(
    store: str,
    kills: int,
    folder: Path,
    *,
    seed: int = 0,
    jobs: Sequence[str] = (),
    processes: int = 2,
) -> list[Tally]:
    """Try jobs on one store; prints a line for each.

    Args:
        store: Of :data:`STORES`.
        kills: So many or a few more, in equal shares.
        folder: For everything; it need not exist.
        seed: Of the moments.
        jobs: Of :data:`JOBS`; by default all that are for this store.
        processes: How many jobs are tried at once.
    """
    names = jobs or [name for name, job in JOBS.items() if store in job.stores]
    print(f"{store}, about {kills} kills, seed {seed}\n{HEADER}", flush=True)
    trying = partial(
        try_job, store, -(-kills // len(names)), seed, folder / store, interposer(folder)
    )
    tallies = []
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for tally in pool.map(trying, names):
            print(tally, flush=True)
            for line in tally.wrong:
                print(f"  {line}", flush=True)
            tallies.append(tally)
    return tallies
