"""``python -m tests.packaging.release [TAG]``: whether what is here may be released.

The newest heading of the changelog has to be the version of the package, and so has the tag.
"""

from __future__ import annotations

import re
import sys
import tomllib

from tests.packaging.building import ROOT


def package_version() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["version"])


def objections(changelog: str, version: str, tag: str | None = None) -> list[str]:
    """What stands against a release of a version."""
    found = []
    newest = re.search(r"^## (.+)$", changelog, re.MULTILINE)
    heading = newest[1] if newest else "nothing"
    if not re.fullmatch(rf"{re.escape(version)} - \d{{4}}-\d{{2}}-\d{{2}}", heading):
        found.append(f"the changelog begins with {heading}, not with {version} and its date")
    if tag is not None and tag != f"v{version}":
        found.append(f"the tag is {tag}, not v{version}")
    return found


if __name__ == "__main__":
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    sys.exit("\n".join(objections(changelog, package_version(), *sys.argv[1:2])) or 0)
