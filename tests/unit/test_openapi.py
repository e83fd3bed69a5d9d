"""The OpenAPI document, and that the routes do what it says: requests made from it, at random."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.result import Ok
from starlette.types import ASGIApp

from tenantkb.adapters.configuration.settings import (
    EmbedderSettings,
    LimitSettings,
    Settings,
    StoreSettings,
)
from tenantkb.adapters.container import open_knowledge_base
from tenantkb.adapters.server.app import server_app
from tenantkb.adapters.server.metrics import Metrics
from tenantkb.application.writing.embed import EmbedRequest
from tenantkb.domain.identity import AgentIdentity
from tenantkb.testing.fail_closed.model import chunk
from tests.tokens import Signer

ADA = AgentIdentity("acme", "ada")
NOT_HELD_TO = [
    schemathesis.checks.positive_data_acceptance,  # a blank question has the form, and no answer
    schemathesis.checks.negative_data_rejection,  # an unknown parameter of an address is ignored
]


@schemathesis.serializer("application/x-ndjson")
def lines(_: Any, value: Any) -> Any:
    """A text as it is."""
    return str(value).encode(errors="replace")


RUNS = settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    made = Signer(tmp_path_factory.mktemp("keys") / "keys.json")
    made.publish()
    return made


@pytest.fixture(scope="module")
def token(signer: Signer) -> str:
    return signer.token(ADA, datetime.now(UTC))


@pytest.fixture(scope="module")
def app(signer: Signer, token: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ASGIApp]:
    """A server in front of a few rows."""
    configured = Settings(
        store=StoreSettings(kind="memory", path=tmp_path_factory.mktemp("store")),
        embedder=EmbedderSettings(kind="hashing"),
        identity=signer.settings(),
        limits=LimitSettings(requests_per_second=10_000, concurrent_requests=100),
    )
    with open_knowledge_base(configured) as opened:
        chunks = [chunk(f"worker {number}.") for number in range(20)]
        context = opened.authenticate(token)
        opened.embed(context, EmbedRequest("app"), enumerate(chunks, 1))
        yield server_app(opened, configured, Metrics(tenants=True), "http://testserver")


def test_every_route_does_what_the_document_says(app: ASGIApp, token: str) -> None:
    """Fails: a server error, or a status, a type or a body that the document does not tell."""
    headers = {"Authorization": f"Bearer {token}"}
    schema = schemathesis.openapi.from_asgi("/v1/openapi.json", app, headers=headers)
    tried = set[str]()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        for mode in schemathesis.GenerationMode:

            @RUNS
            @given(case=operation.as_strategy(generation_mode=mode))
            def hold(case: Any) -> None:
                tried.add(case.operation.label)
                case.call_and_validate(headers=headers, excluded_checks=NOT_HELD_TO)

            hold()
    assert len(tried) == 10
