"""What a killed process leaves behind, and two processes at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.embedding_server import DIMENSION, Answer, EmbeddingServer, embedding_server
from tests.end_to_end.conftest import Installation, Outcome

ROWS = 60
BATCH = 4


@pytest.fixture
def workspace(notes: Callable[..., Path]) -> Path:
    return notes(ROWS)


@pytest.fixture
def service() -> Iterator[EmbeddingServer]:
    with embedding_server() as server:
        server.delay_seconds = 0.05
        yield server


@pytest.fixture
def slow(tenantkb: Installation, service: EmbeddingServer) -> Installation:
    """An installation whose embedder takes its time and counts what it is sent."""
    tenantkb.environment.update(
        TENANTKB_EMBEDDER_KIND="openai",
        TENANTKB_EMBEDDER_MODEL="test",
        TENANTKB_EMBEDDER_BASE_URL=service.base_url,
        TENANTKB_EMBEDDER_DIMENSION=str(DIMENSION),
        TENANTKB_SYNC_BATCH_SIZE=str(BATCH),
    )
    return tenantkb


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited for a minute"
        time.sleep(0.005)


def sent(service: EmbeddingServer) -> list[str]:
    return [text for request in service.requests for text in request["input"]]


def test_after_kill_9_the_same_command_finishes_the_job(
    slow: Installation, service: EmbeddingServer, workspace: Path
) -> None:
    for requests in (1, 4, 9):
        with slow.started("sync", workspace) as process:
            wait_for(lambda requests=requests: len(service.requests) >= requests)  # type: ignore[misc] # bound at once
            process.kill()
    done = slow("sync", workspace, "--json")
    assert done.code == 0
    assert done.json["added"] + done.json["unchanged"] == ROWS
    assert done.json["unchanged"] > 0
    assert slow("sync", workspace, "--json").json["unchanged"] == ROWS
    documents = slow("list", "--limit", "1000", "--json").json["documents"]
    assert len({document["sourcePath"] for document in documents}) == len(documents) == ROWS
    # Each killed run loses at most the batch that it was embedding.
    assert ROWS <= len(sent(service)) <= ROWS + 3 * BATCH


@pytest.mark.parametrize(
    ("number", "code", "how"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_an_interruption_by_hand_is_no_traceback(
    number: int,
    code: int,
    how: str,
    slow: Installation,
    service: EmbeddingServer,
    workspace: Path,
) -> None:
    with slow.started("sync", workspace) as process:
        wait_for(lambda: len(service.requests) >= 3)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors.endswith(f"\n{how}; the same command goes on from here\n")
    assert "Traceback" not in errors
    done = slow("sync", workspace, "--json", TENANTKB_STORE_WAIT="0")  # nothing is locked
    assert done.json["unchanged"] >= 2 * BATCH


def test_a_background_job_of_a_shell_ends_by_sigterm_and_not_by_the_terminals_interrupt(
    slow: Installation, service: EmbeddingServer, workspace: Path, shell: Callable[..., Outcome]
) -> None:
    """A shell without job control lets its background jobs ignore SIGINT."""
    with ThreadPoolExecutor() as pool:
        line = (
            f"tenantkb sync {workspace} & job=$!; echo $job > job; wait $job; "
            "code=$?; echo ended; exit $code"
        )
        running = pool.submit(shell, line)
        wait_for(lambda: len(service.requests) >= 2)
        job = int((slow.folder / "job").read_text())
        os.kill(job, signal.SIGINT)
        before = len(service.requests)
        wait_for(lambda: len(service.requests) >= before + 2)
        os.kill(job, signal.SIGTERM)
        done = running.result(timeout=60)
    assert (done.code, done.output) == (143, "ended\n")
    assert done.errors.endswith("\nterminated; the same command goes on from here\n")


def test_a_second_writer_waits_for_the_first(
    slow: Installation, service: EmbeddingServer, workspace: Path
) -> None:
    with slow.started("sync", workspace) as process:
        wait_for(lambda: len(service.requests) >= 1)
        second = slow("sync", workspace, "--json")
        process.communicate(timeout=60)
    assert (process.returncode, second.code) == (0, 0)
    assert f"pid {process.pid} (tenantkb sync)" in second.errors
    assert second.json["unchanged"] == ROWS
    assert len(sent(service)) == ROWS


def test_a_second_writer_that_has_waited_long_enough_names_the_first(
    slow: Installation, service: EmbeddingServer, workspace: Path
) -> None:
    service.delay_seconds = 30
    with slow.started("sync", workspace) as process:
        wait_for(lambda: len(service.requests) >= 1)
        refused = slow("sync", workspace, "--json", TENANTKB_STORE_WAIT="0.1")
        listed = slow("status", "--json")
    assert refused.code == 5
    assert refused.json["error"]["code"] == "KB_STORE_LOCKED"
    assert f"pid {process.pid} (tenantkb sync)" in refused.json["error"]["message"]
    assert listed.code == 0
    service.delay_seconds = 0
    assert slow("sync", workspace, "--json").json["added"] == ROWS


def test_a_service_that_stays_away_ends_the_run_with_what_is_stored_kept(
    slow: Installation, service: EmbeddingServer, workspace: Path
) -> None:
    with slow.started("sync", workspace) as process:
        wait_for(lambda: len(service.requests) >= 4)
        service.answers.extend([Answer(401, body='{"error": {"message": "no more credit"}}')] * 99)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "no more credit" in errors
    service.answers.clear()
    done = slow("sync", workspace, "--json").json
    assert done["unchanged"] >= 3 * BATCH
    assert done["added"] + done["unchanged"] == ROWS
