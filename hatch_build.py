"""A hook of the build: without the links of ``tenantkb/`` it would make a package of nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = ("adapters", "application", "domain", "ports", "schemas")


class RequireLinks(BuildHookInterface[Any]):
    """Refuses to build where the code cannot be reached through the package.

    A checkout has symbolic links there, which git writes as small text files where it may make none
    (Windows without ``core.symlinks``) and some copies leave out; hatchling passes over what is
    missing. A source distribution has the folders themselves.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        package = Path(self.root, "tenantkb")
        missing = [name for name in FOLDERS if not (package / name / "__init__.py").is_file()]
        if missing:
            raise FileNotFoundError(
                f"{package} has no folder {', '.join(missing)}: in a checkout these are symbolic "
                "links; set `git config core.symlinks true`, then `git checkout -- tenantkb`"
            )
