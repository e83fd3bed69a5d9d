"""Hypothesis strategies for the values of the domain."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import strategies as st

from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.tenancy import TenantStamp, Visibility

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
TENANTS = ("acme", "acme-2", "beta", "neo-shared")
AGENTS = ("ada", "bob", "ada:bob")
REPOS = ("neo", "client-org/main-app")

visibilities = st.sampled_from(Visibility)
repo_slugs = st.sampled_from(REPOS)


@st.composite
def identities(draw: st.DrawFn) -> AgentIdentity:
    """A caller that a provider could have authenticated; the shared tenant's are curators."""
    tenant = draw(st.sampled_from(TENANTS))
    roles = {Role.AGENT} | ({Role.CURATOR} if tenant == "neo-shared" else set())
    return AgentIdentity(tenant, draw(st.sampled_from(AGENTS)), frozenset(roles))


stamps = st.builds(
    TenantStamp,
    tenant_id=st.sampled_from(TENANTS),
    repo_slug=repo_slugs,
    visibility=visibilities,
    origin_agent_identity=st.none() | st.sampled_from(AGENTS),
    ingested_at=st.none() | st.just(NOW),
)
