"""Settings of the whole suite."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings

pytest_plugins = ["pytester", "tenantkb.testing.plugin", "tests.conformance.stores"]

# Machines that run tests are slow and noisy: a law is judged by its examples, never by time.
settings.register_profile(
    "tenantkb", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("tenantkb")
# Of a mutant that is killed nobody wants the smallest example, which takes minutes to find.
settings.register_profile(
    "mutation", settings.get_profile("tenantkb"), phases=(Phase.explicit, Phase.generate)
)


@pytest.fixture(autouse=True)
def _no_configuration_from_outside(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Tests see no TENANTKB_* variable of the machine, and never its user's own store."""
    for name in list(os.environ):
        if name.startswith("TENANTKB_") and not name.startswith("TENANTKB_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / "data"))
