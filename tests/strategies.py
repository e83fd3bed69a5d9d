"""Hypothesis strategies for the values of the domain."""

from __future__ import annotations

from hypothesis import strategies as st

from tenantkb.domain.identity import AgentIdentity, Role
from tenantkb.domain.stamps import TenantStamp, Visibility
from tenantkb.testing.samples import NOW

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


@st.composite
def _stamps(draw: st.DrawFn) -> TenantStamp:
    """A stamp that a row can have; of a private row, with the agent that wrote it."""
    visibility, agents = draw(visibilities), st.sampled_from(AGENTS)
    return TenantStamp(
        tenant_id=draw(st.sampled_from(TENANTS)),
        repo_slug=draw(repo_slugs),
        visibility=visibility,
        origin_agent_identity=draw(
            agents if visibility is Visibility.PRIVATE else st.none() | agents
        ),
        ingested_at=draw(st.none() | st.just(NOW)),
    )


stamps = _stamps()
