"""A container engine, and in it an image of Chroma, for the tests that need one.

``start`` takes the engine that answers, and the image that it has or can pull. What is missing is
made from packages, in .scratch/containers. Nothing is installed, and nothing else on the machine is
changed: the engine runs in mount and process namespaces of its own, so that its mounts, its sockets
and all of its processes end with it, however it ends. A start that was interrupted is repeated.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
SCRATCH = ROOT / ".scratch" / "containers"
PACKAGES = SCRATCH / "packages"
DATA = SCRATCH / "data"
LOG = SCRATCH / "dockerd.log"
SOCKET = SCRATCH / "docker.sock"
OWN = f"unix://{SOCKET}"

BRIDGE = Path("/sys/class/net/docker0")
OWN_BRIDGE = SCRATCH / "docker0"
"""Exists where the bridge is ours to delete."""

CGROUP = "tenantkb-tests"
PROGRAMS = ("dockerd", "containerd", "runc", "docker-proxy", "docker")
NO_ENGINE = 3

NAMESPACE = """
set -e
scratch=$1 names=$(cat /etc/resolv.conf 2>/dev/null || true)
shift
mount -t tmpfs tmpfs /run
mkdir /run/scratch /run/etc /run/work
mount -t overlay -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/work overlay /etc
rm -f /etc/resolv.conf
echo "$names" >/etc/resolv.conf
mount --bind "$scratch" /run/scratch
mount -t tmpfs tmpfs /opt
mkdir -p "$scratch"
mount --bind /run/scratch "$scratch"
exec "$@"
"""
"""What dockerd is started by. Its /run is empty, so that it meets neither the containerd of another
engine nor a pid file of an earlier run, and what it writes into /etc and /opt ends with it."""

DOCKERD = [
    *("unshare", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"),
    *("sh", "-c", NAMESPACE, "dockerd", str(SCRATCH)),
    *("dockerd", "--log-level", "warn", "--host", OWN, "--data-root", str(DATA)),
    *("--exec-root", "/run/docker", "--pidfile", "/run/docker.pid"),
    # The tests ask from this machine: no forwarding is needed, nor a port that others can reach.
    *("--iptables=false", "--ip-forward=false", "--ip-masq=false", "--ip", "127.0.0.1"),
    # systemd would not know the processes of another namespace.
    *("--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", f"/{CGROUP}"),
]

SERVER = (
    'CMD ["python3", "-c", "import chromadb_rust_bindings as chroma;'
    " chroma.cli(['chroma', 'run', '/config.yaml'])\"]"
)
CHANGES = ("ENV PYTHONPATH=/opt/chroma", SERVER, "EXPOSE 8000", "VOLUME /data")
CONFIG = 'persist_path: "/data"\nlisten_address: "0.0.0.0"\nport: 8000\n'


class Failure(Exception):  # noqa: N818 # it ends the command
    """Why the command cannot do what it is for."""


class NoEngine(Failure):
    """There is no engine, and none can be started on this machine."""


def say(text: str) -> None:
    print(f"containers: {text}", file=sys.stderr, flush=True)


def start(pull_seconds: int) -> None:
    with one_at_a_time() as work:
        host = answering()
        if host:
            say(f"a container engine answers at {host}")
        else:
            start_engine(work)
            host = OWN
        image = f"chromadb/chroma:{locked_chroma()[0]}"
        if docker(host, "image", "inspect", image).returncode:
            say(f"pulling {image}, for at most {pull_seconds} s")
            pulled = docker(host, "pull", image, limit=pull_seconds)
            if pulled.returncode:
                say(f"not pulled: {last_line(pulled)}")
                make_image(host, image, work)
        say(f"{image} is there")


def stop() -> None:
    with one_at_a_time():
        if pid := own_engine():
            end_engine(pid)
        else:
            say("no engine of this folder is running")
        remove_traces()


def env() -> None:
    host = answering()
    if host is None:
        raise NoEngine("no container engine answers")
    print(f"export DOCKER_HOST={shlex.quote(host)}")
    # What removes forgotten containers is an image of its own, which need not be there.
    print("export TESTCONTAINERS_RYUK_DISABLED=true")
    if host == OWN:
        # On a machine that is a container itself they would be sought at its gateway.
        print("export TESTCONTAINERS_CONNECTION_MODE=docker_host")
        print("export TESTCONTAINERS_HOST_OVERRIDE=127.0.0.1")


@contextmanager
def one_at_a_time() -> Iterator[Path]:
    """Gives a folder of this run's own.

    A run that was killed may have left one, and in it a program that still writes.
    """
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with (SCRATCH / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another start or stop in this folder")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for left_over in SCRATCH.glob("work-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        with TemporaryDirectory(prefix="work-", dir=SCRATCH) as work:
            yield Path(work)


# The engine


def answering() -> str | None:
    """Where an engine answers: the own one, or else the one that the docker command reaches."""
    for host in (OWN, os.environ.get("DOCKER_HOST") or context_host()):
        if host and not docker(host, "version", limit=20).returncode:
            return host
    return None


def context_host() -> str:
    command = ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
    with suppress(OSError):
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        return found.stdout.strip()
    return ""


def docker(host: str, *arguments: str, limit: int = 600) -> subprocess.CompletedProcess[str]:
    command = ["docker", "--host", host, *arguments]
    try:
        return subprocess.run(
            command, env=environment(), capture_output=True, text=True, timeout=limit, check=False
        )
    except OSError:
        return subprocess.CompletedProcess(command, 127, "", "there is no docker command")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", "the time is over")


def environment() -> dict[str, str]:
    """Finds programs and libraries of the unpacked packages, and then the machine's."""
    programs = [str(PACKAGES / folder) for folder in ("usr/sbin", "usr/bin", "sbin", "bin")]
    libraries = [str(folder) for folder in PACKAGES.glob("**/lib/*-linux-gnu*")]
    path = [*programs, os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]
    return os.environ | {"PATH": ":".join(path), "LD_LIBRARY_PATH": ":".join(libraries)}


def start_engine(work: Path) -> None:
    if not sys.platform.startswith("linux"):
        raise NoEngine("no container engine answers, and one can be started on Linux only")
    if os.geteuid() != 0:
        raise NoEngine("no container engine answers, and starting one needs root")
    if len(os.fsencode(SOCKET)) > 107:
        raise NoEngine(f"the path of a socket may have 107 bytes: {SOCKET} is too long")
    if pid := own_engine():
        say("the engine of this folder does not answer")
        end_engine(pid)
    try:
        get_engine(work)
    except Failure as failure:
        raise NoEngine(str(failure)) from failure
    say(f"starting dockerd; its log is {LOG.relative_to(ROOT)}")
    SOCKET.unlink(missing_ok=True)
    if not BRIDGE.exists():
        OWN_BRIDGE.touch()
    with LOG.open("w") as log:
        process = subprocess.Popen(
            DOCKERD,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if not docker(OWN, "version", limit=10).returncode:
            return
        time.sleep(0.2)
    if process.poll() is None:
        end_engine(process.pid)
    remove_traces()
    lines = LOG.read_text(errors="replace").splitlines()[-15:]
    raise NoEngine("\n".join(["dockerd did not come up; the end of its log:", *lines]))


def own_engine() -> int | None:
    """The pid that the engine of this folder runs under, whatever became of the folder."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (entry / "cmdline").read_bytes().split(b"\0")
            if command[0].endswith(b"unshare") and OWN.encode() in command:
                return int(entry.name)
    return None


def end_engine(pid: int) -> None:
    """End the process group of dockerd; all that it has started ends with its namespace."""
    say("ending dockerd")
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            pass
        except PermissionError as error:
            raise Failure(f"ending dockerd, process {pid}, needs root") from error
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            if own_engine() is None:
                return
            time.sleep(0.1)
    raise Failure(f"dockerd does not end: process {pid}")


def remove_traces() -> None:
    """Remove what the kernel keeps of an engine that has ended."""
    if OWN_BRIDGE.exists():
        if BRIDGE.exists():
            subprocess.run(["ip", "link", "delete", BRIDGE.name], env=environment(), check=False)
        OWN_BRIDGE.unlink()
    for folder in Path("/sys/fs/cgroup").glob(f"**/{CGROUP}"):
        with suppress(OSError):
            folder.rmdir()
    SOCKET.unlink(missing_ok=True)


# What comes from packages


def get_engine(work: Path) -> None:
    """Unpack what the machine lacks of Docker."""
    path = environment()["PATH"]
    if all(shutil.which(program, path=path) for program in PROGRAMS):
        return
    say("getting Docker from the packages of this system; they are unpacked and not installed")
    names = ["docker.io"]
    command = ["apt-cache", *apt_options(work), "show", "docker-cli"]
    if not subprocess.run(command, capture_output=True, check=False).returncode:
        names.append("docker-cli")  # from Debian 13 on; before, docker.io has the command
    unpack(names, work / "packages", work)
    shutil.rmtree(PACKAGES, ignore_errors=True)
    (work / "packages").rename(PACKAGES)


def make_image(host: str, image: str, work: Path) -> None:
    """A file system that holds Python and Chroma's wheel, and nothing else.

    The server is a program in that wheel, so what the package depends on is not needed.
    """
    say(f"making {image} from packages: python3-minimal of this system, chromadb of PyPI")
    root = work / "root"
    unpack(["python3-minimal"], root, work, "Dir::State::Status=/dev/null")
    for name in ("bin", "sbin", "lib", "lib64"):  # links, where the packages have none of it
        if not (root / name).exists() and (root / "usr" / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    (root / "tmp").mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "data").mkdir()
    (root / "config.yaml").write_text(CONFIG)
    zipfile.ZipFile(chroma_wheel(work)).extractall(root / "opt" / "chroma")
    layer = work / "layer.tar"
    step("tar", "--create", "--owner=0", "--group=0", f"--file={layer}", f"--directory={root}", ".")
    changes = [f"--change={change}" for change in CHANGES]
    imported = docker(host, "import", *changes, str(layer), image)
    if imported.returncode:
        raise Failure(f"the engine does not take the image: {last_line(imported)}")


def chroma_wheel(work: Path) -> Path:
    version, hashes = locked_chroma()
    (work / "requirements.txt").write_text(f"chromadb=={version} {hashes}\n")
    step(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--only-binary=:all:", "--require-hashes"),
        *("--requirement", str(work / "requirements.txt"), "--dest", str(work)),
    )
    return next(work.glob("chromadb-*.whl"))


def locked_chroma() -> tuple[str, str]:
    """The version of requirements.lock, and its hashes as options of pip."""
    lock = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    found = re.search(r"^chromadb==(\S+)((?: +--hash=\S+)+)", lock, re.MULTILINE)
    if not found:
        raise Failure("requirements.lock names no chromadb")
    return found[1], found[2]


def unpack(names: list[str], target: Path, work: Path, *settings: str) -> None:
    """Unpack packages with what they depend on and is not installed."""
    archives = work / f"{target.name}.archives"
    (archives / "partial").mkdir(parents=True)
    options = [*apt_options(work), *option(f"Dir::Cache::Archives={archives}")]
    options += [word for setting in settings for word in option(setting)]
    options += ["-qq", "--yes", "--no-install-recommends", "--download-only"]
    step("apt-get", *options, "install", *names)
    target.mkdir()
    for archive in sorted(archives.glob("*.deb")):
        step("dpkg-deb", "--extract", str(archive), str(target))


@cache
def apt_options(work: Path) -> list[str]:
    """Options by which apt reads the system's sources and writes nothing outside of our folder."""
    if not shutil.which("apt-get"):
        raise Failure("packages are taken by apt-get, which is not here")
    lists = work / "lists"
    (lists / "partial").mkdir(parents=True)
    options = [*option(f"Dir::State::Lists={lists}"), *option(f"Dir::Cache={work}")]
    # Nothing is installed, so nobody has to wait for us, nor do we for others.
    options += [*option("Debug::NoLocking=1"), *option("APT::Sandbox::User=root")]
    step("apt-get", *options, "-qq", "update")
    return options


def option(setting: str) -> tuple[str, str]:
    return "--option", setting


def step(*command: str) -> None:
    ended = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise Failure(f"{shlex.join(command)}: {ended.stderr.strip() or ended.returncode}")


def last_line(ended: subprocess.CompletedProcess[str]) -> str:
    return (ended.stderr.strip() or f"exit code {ended.returncode}").splitlines()[-1]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.container_engine", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "Exit codes: 0 done, 1 failed, 3 there is no container engine and none can be started."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("start", help="have an engine, and in it the image of Chroma")
    starting.add_argument(
        "--pull-seconds", type=int, default=60, help="how long to try to pull the image (60)"
    )
    commands.add_parser("env", help="print the variables that lead tests to the engine, for eval")
    commands.add_parser("stop", help="end the engine that start has started, and all in it")
    arguments = parser.parse_args()
    try:
        if arguments.command == "start":
            start(arguments.pull_seconds)
        elif arguments.command == "env":
            env()
        else:
            stop()
    except Failure as failure:
        say(str(failure))
        return NO_ENGINE if isinstance(failure, NoEngine) else 1
    except KeyboardInterrupt:
        say("interrupted; the same command goes on")
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main())
