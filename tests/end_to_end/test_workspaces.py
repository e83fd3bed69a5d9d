"""Workspaces of three tenants in one collection, and what sets them up."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.end_to_end.conftest import GOLDEN, Installation

CUSTOM = Path(__file__).parents[1] / "workspaces" / "mini-custom-source"
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "write-a-source.md"
TENANTS = ("neo-shared", "acme", "globex")

PYTHON_MODULE = '''"""Money."""


class Ledger:
    """Every entry is written twice."""

    def balance(self, account: str) -> int:
        """What an account holds, in cents."""
        return sum(entry.cents for entry in self.entries if entry.account == account)


def rounded(cents: float) -> int:
    """Round half to even, as banks do."""
    return round(cents)
'''


@pytest.fixture
def operations(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CUSTOM, tmp_path / "operations"))


@pytest.fixture
def billing(tmp_path: Path) -> Path:
    """A repository in Python, with what git ignores."""
    folder = tmp_path / "billing"
    (folder / "build").mkdir(parents=True)
    (folder / "ledger.py").write_text(PYTHON_MODULE)
    (folder / "README.md").write_text("# Billing\n\nInvoices and ledgers.\n")
    (folder / ".gitignore").write_text("build/\n")
    (folder / "build" / "generated.py").write_text("x = 1\n")
    return folder


@pytest.fixture
def three(tenantkb: Installation, operations: Path, billing: Path) -> Installation:
    """One file for three tenants."""
    neo = GOLDEN / "mini-neo-workspace"
    (tenantkb.folder / "tenantkb.toml").write_text(
        f"""
        import_path = ["{operations}/kb"]

        [[repositories]]
        tenant = "neo-shared"
        repo = "neo"
        workspace = "{neo}"

        [[repositories]]
        tenant = "acme"
        repo = "operations"
        workspace = "{operations}"
        use_default_sources = false
        custom_sources.RunbookSource = "runbooks:RunbookSource"
        custom_parsers.RunbookParser = "runbooks:RunbookParser"

        [[repositories]]
        tenant = "globex"
        repo = "billing"
        workspace = "{billing}"
        root_kind = "bare-repo"
        use_default_sources = false
        code_source = true
        """
    )
    return tenantkb


def listed(tenantkb: Installation, tenant: str) -> list[dict[str, str]]:
    documents: list[dict[str, str]] = tenantkb(
        "--as", tenant, "list", "--limit", "1000", "--json"
    ).json["documents"]
    return documents


def test_three_tenants_share_a_collection_and_each_sees_its_own_and_the_shared(
    three: Installation,
) -> None:
    done = three("sync", "--all", "--json")
    assert done.code == 0, done.errors
    reports = {item["tenantId"]: item for item in done.json["repositories"]}
    assert tuple(reports) == TENANTS
    assert all(item["added"] for item in reports.values())

    shared = listed(three, "neo-shared")
    assert {row["tenantId"] for row in shared} == {"neo-shared"}
    assert len(shared) == reports["neo-shared"]["added"]
    for tenant in ("acme", "globex"):
        rows = listed(three, tenant)
        assert {row["tenantId"] for row in rows} == {tenant, "neo-shared"}
        assert [row for row in rows if row["tenantId"] == "neo-shared"] == shared
        assert len(rows) == len(shared) + reports[tenant]["added"]
    assert {row["name"] for row in listed(three, "acme") if row["type"] == "runbook"} == {
        "The replica falls behind",
        "The queue grows and nothing is consumed",
        "Drain the queue before an upgrade",
    }
    own = {row["sourcePath"] for row in listed(three, "globex") if row["tenantId"] == "globex"}
    assert {"README.md", "ledger.py"} <= own
    assert "build/generated.py" not in own

    again = three("sync", "--all", "--json").json["repositories"]
    assert [(item["added"], item["updated"], item["deleted"]) for item in again] == [(0, 0, 0)] * 3


@pytest.mark.parametrize(
    ("tenant", "question", "path"),
    [
        ("acme", "messages are not consumed", "runbooks/queue.rbk"),
        ("globex", "how are cents rounded", "ledger.py"),
    ],
)
def test_a_tenant_is_answered_from_its_own_rows(
    three: Installation, tenant: str, question: str, path: str
) -> None:
    three("sync", "--all")
    [best] = three("--as", tenant, "query", question, "--limit", "1", "--json").json["results"]
    assert (best["tenantId"], best["sourcePath"]) == (tenant, path)
    [other] = three("--as", "neo-shared", "query", question, "--limit", "1", "--json").json[
        "results"
    ]
    assert other["tenantId"] == "neo-shared"


def test_a_repository_that_fails_keeps_none_of_the_others(
    three: Installation, operations: Path
) -> None:
    shutil.rmtree(operations / "runbooks")
    shutil.rmtree(operations / "kb")
    done = three("sync", "--all", "--json")
    assert done.code == 2
    first, second, third = done.json["repositories"]
    assert first["added"] > 0
    assert second["error"]["code"] == "KB_CONFIGURATION"
    assert "import_path" in second["error"]["message"]
    assert third["added"] > 0


def test_a_workspace_is_synchronised_as_it_is_configured(
    three: Installation, billing: Path
) -> None:
    report = three("sync", billing, "--json").json
    assert report["sources"].keys() == {"CodeSource"}
    rows = listed(three, "globex")
    assert {(row["tenantId"], row["repoSlug"]) for row in rows} == {("globex", "billing")}
    created = three("create", billing)
    assert len(created.output.splitlines()) == len(rows)


def test_some_of_the_repositories_are_chosen_by_tenant_or_name(three: Installation) -> None:
    for choice in (["--as", "globex", "sync", "--all"], ["sync", "--all", "--repo", "billing"]):
        [report] = three(*choice, "--dry-run", "--json").json["repositories"]
        assert report["repoSlug"] == "billing"
    done = three("sync", "--all", "--repo", "bililng")
    assert (done.code, "acme:operations" in done.errors) == (2, True)


@pytest.mark.parametrize("caller", ["", "/bob"])
def test_a_caller_without_a_tenant_is_not_the_one_that_is_configured(
    three: Installation, billing: Path, caller: str
) -> None:
    for arguments in (["sync", billing], ["sync", "--all"], ["list"]):
        done = three("--as", caller, *arguments)
        assert (done.code, done.output) == (2, "")


def test_settings_stand_in_the_project_file_too(tenantkb: Installation, operations: Path) -> None:
    settings = (operations / "tenantkb.toml").read_text()
    (operations / "tenantkb.toml").unlink()
    settings = settings.replace("[[repositories]]", "[[tool.tenantkb.repositories]]")
    (operations / "pyproject.toml").write_text("[tool.tenantkb]\n" + settings)
    there = Installation(operations, tenantkb.environment)
    [report] = there("sync", "--all", "--json").json["repositories"]
    assert report["added"] == 3


def test_a_workspace_has_no_say_by_being_synchronised(
    tenantkb: Installation, operations: Path
) -> None:
    report = tenantkb("--as", "acme", "create", operations, "-o", "out.jsonl", "--json").json
    assert "RunbookSource" not in report["sources"]
    refused = tenantkb("--as", "acme", "sync", operations, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "KB_NO_SOURCE")
    assert "`tenantkb init`" in refused.json["error"]["remedy"]["words"]


def test_config_tells_every_setting_with_its_origin(three: Installation) -> None:
    told = {
        item["key"]: (item["value"], item["origin"])
        for item in three("--as", "acme/ada", "config", "--json", TENANTKB_TOKEN="t").json[
            "settings"
        ]
    }
    file = str(three.folder / "tenantkb.toml")
    assert told["identity.tenant"] == ("acme", "--as")
    assert told["identity.agent"] == ("ada", "--as")
    assert told["identity.token"] == ("***", "TENANTKB_TOKEN")
    assert told["store.path"] == (three.environment["TENANTKB_STORE_PATH"], "TENANTKB_STORE_PATH")
    assert told["repositories[2].code_source"] == (True, file)
    assert told["workers"] == (None, "default")
    assert "repositories[2].code_source" in three("config").output


def test_init_sets_up_a_foreign_repository(tenantkb: Installation, billing: Path) -> None:
    here = Installation(billing, tenantkb.environment)
    subprocess.run(["git", "init", "--quiet", billing], check=True)
    subprocess.run(
        [
            "git",
            "-C",
            billing,
            "remote",
            "add",
            "origin",
            "git@example.org:Globex_Corp/billing.git",
        ],
        check=True,
    )
    done = here("init", "--json")
    assert done.code == 0, done.errors
    planned = done.json["sync"]
    assert planned["dryRun"]
    assert planned["added"] > 3
    synced = here("sync", ".", "--json").json
    assert synced["added"] == planned["added"]
    rows = listed(here, "globex-corp")
    assert {row["repoSlug"] for row in rows} == {"Globex_Corp/billing"}

    before = (billing / "tenantkb.toml").read_text()
    again = here("init")
    assert (again.code, "already" in again.errors) == (2, True)
    assert (billing / "tenantkb.toml").read_text() == before


def test_init_in_a_folder_of_repositories_is_for_all_of_them(
    tenantkb: Installation, tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    remotes = {"api": "globex/api", "fork": "initech/fork", "again": "globex/api"}
    for name, remote in remotes.items():
        subprocess.run(["git", "init", "--quiet", folder / name], check=True)
        origin = f"https://example.org/{remote}.git"
        subprocess.run(["git", "-C", folder / name, "remote", "add", "origin", origin], check=True)
        (folder / name / "a.py").write_text(f"def {name}():\n    return 1\n")
    (folder / "notes.txt").write_text("no repository")
    here = Installation(folder, tenantkb.environment)
    done = here("init", "--json")
    assert done.code == 0, done.errors
    planned = [(each["repoSlug"], each["added"]) for each in done.json["repositories"]]
    assert planned == [("globex/api", 1), ("globex/api/api", 1), ("initech/fork", 1)]
    assert here("sync", "--all").code == 0
    rows = listed(here, "globex")
    assert {row["repoSlug"] for row in rows} == {"globex/api", "globex/api/api", "initech/fork"}
    assert {row["tenantId"] for row in rows} == {"globex"}


LOUD = """
import json

print("imported")

class Source:
    def __init__(self, workspace, broken=False):
        self.broken = broken

    def extract(self, write_stream, create_hash):
        print("extracting")
        chunk = {"kind": "step", "name": "a", "content": "a", "source": "a.txt"}
        chunk["hash"] = create_hash(chunk)
        write_stream.write("{nonsense}\\n" if self.broken else json.dumps(chunk) + "\\n")
        return 1
"""


def test_a_source_of_ones_own_spoils_neither_the_output_nor_the_other_repositories(
    tenantkb: Installation, tmp_path: Path
) -> None:
    (tmp_path / "kb").mkdir()
    (tmp_path / "kb" / "loud.py").write_text(LOUD)
    (tenantkb.folder / "tenantkb.toml").write_text(
        f"""
        import_path = ["{tmp_path}/kb"]
        use_default_sources = false

        [[repositories]]
        tenant = "acme"
        repo = "broken"
        workspace = "{tmp_path}"
        custom_sources.Loud = {{ factory = "loud:Source", options = {{ broken = true }} }}

        [[repositories]]
        tenant = "globex"
        repo = "sound"
        workspace = "{tmp_path}"
        custom_sources.Loud = "loud:Source"
        """
    )
    done = tenantkb("sync", "--all", "--json")
    assert done.code == 1
    broken, sound = done.json["repositories"]
    assert broken["added"] == 0
    assert sound["added"] == 1
    [told] = broken["diagnostics"]
    assert told["path"] == "Loud"
    assert "not JSON: " in told["reason"]
    created = tenantkb("create", tmp_path, "--as", "globex")
    assert json.loads(created.output)["name"] == "a"
    assert created.errors.startswith("Extracting\nimported\nextracting\n")


def test_init_knows_a_workspace_of_neo(tenantkb: Installation, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(GOLDEN / "mini-neo-workspace", tmp_path / "client-app"))
    (workspace / "package.json").write_text('{"name": "client", "dependencies": {"neo.mjs": "*"}}')
    here = Installation(workspace, tenantkb.environment)
    planned = here("--as", "acme", "init", "--json").json["sync"]
    assert planned["sources"]["ApiSource"] > 0
    assert here("config", "--json").json["settings"]


@pytest.fixture
def token(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Makes the variables of a caller who comes with a signed token."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(public)

    def variables(**claims: object) -> dict[str, str]:
        always = {"iss": "issuer", "aud": "tenantkb", "sub": "ada", "exp": time.time() + 600}
        return {
            "TENANTKB_IDENTITY_KIND": "token",
            "TENANTKB_IDENTITY_KEYS": str(tmp_path / "key.pem"),
            "TENANTKB_IDENTITY_ISSUER": "issuer",
            "TENANTKB_IDENTITY_AUDIENCE": "tenantkb",
            "TENANTKB_IDENTITY_ALGORITHM": "ES256",
            "TENANTKB_TOKEN": jwt.encode({**always, **claims}, key, algorithm="ES256"),
        }

    return variables


def test_a_token_tells_who_calls_and_nothing_else_does(
    three: Installation, token: Callable[..., dict[str, str]]
) -> None:
    globex = token(tenant="globex")
    status = three("status", "--json", **globex).json
    assert (status["tenant"], status["agent"]) == ("globex", "ada")
    done = three("sync", "--all", "--json", **globex)
    assert done.code == 3
    told = [item.get("error", {}).get("code") for item in done.json["repositories"]]
    assert told == ["KB_ACCESS_DENIED", "KB_ACCESS_DENIED", None]
    assert {row["tenantId"] for row in three("list", "--json", **globex).json["documents"]} == {
        "globex"
    }
    for refused in (
        three("--as", "acme", "status", **globex),
        three("--as", "acme", "config", **globex),
        three("status", **token(tenant="globex", exp=time.time() - 1)),
        three("status", **token(tenant="globex", aud="another")),
        three("status", **{**globex, "TENANTKB_TOKEN": ""}),
    ):
        assert (refused.code, refused.output) == (3, "")
    assert three("status", TENANTKB_TENANT="acme", **globex).code == 2
    assert three("status", TENANTKB_IDENTITY_KIND="token").code == 2


def test_the_guide_shows_the_workspace_that_is_tested(operations: Path) -> None:
    shown = dict(
        re.findall(
            r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL
        )
    )
    assert set(shown) == {"kb/runbooks.py", "runbooks/queue.rbk", "tenantkb.toml"}
    for name, text in shown.items():
        assert (operations / name).read_text() == text
