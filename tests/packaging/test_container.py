"""The composition root under threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from dependency_injector import providers

from tenantkb.adapters.configuration.settings import EmbedderSettings, Settings, StoreSettings
from tenantkb.adapters.container import Container
from tenantkb.adapters.stores.memory import MemoryEngine
from tenantkb.application.guard import GuardedStore

THREADS = 16


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        store=StoreSettings(kind="memory", path=tmp_path), embedder=EmbedderSettings(kind="hashing")
    )


@pytest.fixture(autouse=True)
def _hasty_threads() -> Iterator[None]:
    """Threads take turns so often that two of them meet in whatever is not guarded."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def ask(container: Any) -> list[dict[str, object]]:
    """What each of the threads is given by each provider, asked in an order of its own."""
    names = sorted(container.providers)
    start = threading.Barrier(THREADS)

    def every(number: int) -> dict[str, object]:
        turn = number % len(names)
        start.wait()
        return {name: container.providers[name]() for name in names[turn:] + names[:turn]}

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(every, range(THREADS)))


def shared(given: list[dict[str, object]]) -> set[str]:
    """The providers that gave all threads the same object."""
    return {name for name in given[0] if len({id(each[name]) for each in given}) == 1}


def test_every_provider_gives_all_threads_one_object(settings: Settings) -> None:
    for _ in range(20):
        container: Any = Container(settings=settings)
        given = ask(container)
        assert {"engine", "store", "state", "embedder", "knowledge_base"} < given[0].keys()
        assert shared(given) == given[0].keys()
        container.knowledge_base().close()


def test_a_provider_that_is_not_safe_for_threads_is_found(settings: Settings) -> None:
    """The test above can fail: of a plain singleton that takes a while, threads get several."""
    container: Any = Container(settings=settings)
    held = threading.Event()

    def slow() -> object:
        held.wait(0.05)
        return object()

    container.clock.override(providers.Singleton(slow))
    assert "clock" not in shared(ask(container))


def test_an_engine_is_swapped_and_keeps_its_guard(settings: Settings) -> None:
    container: Any = Container(settings=settings)
    engine = MemoryEngine()
    container.engine.override(providers.Object(engine))
    store = container.store()
    assert type(store) is GuardedStore
    assert store.engine is engine
    assert container.knowledge_base().query.ranking.store is store
