"""What is built of this checkout, once for all tests of it."""

from __future__ import annotations

import pytest

from tests.packaging.building import Archives, Environment, build_archives


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    return build_archives(tmp_path_factory.mktemp("archives"))


@pytest.fixture(scope="session")
def environment(archives: Archives, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment in which the wheel is installed, and not this checkout."""
    return Environment.with_wheel(archives.wheel, tmp_path_factory.mktemp("environment"))
