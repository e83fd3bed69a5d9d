"""Model files that lie inside an installed Python package."""

from __future__ import annotations

from hashlib import file_digest, sha256
from importlib.util import find_spec
from pathlib import Path

from tenantkb.domain.errors import ConfigurationError


def packaged_files(package: str, *names: str, install: str) -> list[Path]:
    """Find the files ``names`` of ``package`` without importing it.

    Args:
        package: Import name of the package.
        names: Paths inside it, forward slashes.
        install: What to run to get it.

    Raises:
        ConfigurationError: the package is not installed, or does not hold the files.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(f"the Python package {package} is not installed; run: {install}")
    paths = [Path(spec.submodule_search_locations[0], name) for name in names]
    for path in paths:
        if not path.is_file():
            raise ConfigurationError(
                f"the installed package {package} has no file {path}; run: {install}"
            )
    return paths


def fingerprint(paths: list[Path]) -> str:
    """Eight hex digits that change whenever the content of one of the files does."""
    total = sha256()
    for path in paths:
        with path.open("rb") as file:
            total.update(file_digest(file, "sha256").digest())
    return total.hexdigest()[:8]
