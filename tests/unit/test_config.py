"""Where settings come from, and how wrong ones are told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tenantkb.adapters.configuration import loading as config
from tenantkb.adapters.configuration.loading import explain, load
from tenantkb.adapters.configuration.settings import FactorySettings, Settings
from tenantkb.domain.errors import ConfigurationError


def test_without_anything_the_defaults_are_in_force(tmp_path: Path) -> None:
    assert load({}, tmp_path) == Settings()


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "tenantkb.toml").write_text(
        '[identity]\ntenant = "acme"\nagent = "ada"\n[sync]\nbatch_size = 10\n'
    )
    settings = load({"TENANTKB_AGENT": "bob", "UNRELATED": "x"}, tmp_path)
    assert (settings.identity.tenant, settings.identity.agent) == ("acme", "bob")
    assert settings.sync.batch_size == 10


def test_variables_are_read_as_the_type_of_their_setting(tmp_path: Path) -> None:
    settings = load(
        {
            "TENANTKB_STORE_PORT": "8123",
            "TENANTKB_STORE_SSL": "true",
            "TENANTKB_SYNC_DELETABLE_SHARE": "0.25",
            "TENANTKB_ROLES": "curator, operator",
            "TENANTKB_STORE_PATH": "~/kb",
        },
        tmp_path,
    )
    assert settings.store.port == 8123
    assert settings.store.ssl is True
    assert settings.sync.deletable_share == 0.25
    assert settings.identity.roles == ("curator", "operator")
    assert settings.store.path == Path.home() / "kb"


def test_a_relative_store_path_is_relative_to_its_file(tmp_path: Path) -> None:
    file = tmp_path / "team.toml"
    file.write_text('[store]\npath = "data/kb"\n')
    assert load({}, Path("/"), file).store.path == tmp_path / "data/kb"
    assert load({"TENANTKB_CONFIG": str(file)}, Path("/")).store.path == tmp_path / "data/kb"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stoer = 1", "stoer: there is no such key; did you mean store?"),
        ('[store]\npaht = "x"', "store.paht: there is no such key; did you mean path?"),
        ("[store]\nport = 70000", "store: 'port' must be <= 65535: 70000"),
        ('[store]\nport = "80"', "store.port: expected a whole number, not '80'"),
        ("[store]\nport = true", "store.port: expected a whole number, not True"),
        ('[store]\nssl = "no"', "store.ssl: expected true or false, not 'no'"),
        ("[store]\nkind = 3", "store.kind: expected text, not 3"),
        ("[store]\nwait = -1", "store: 'wait' must be >= 0: -1"),
        ("[store]\nheaders.a = 1", "store.headers.a: expected text, not 1"),
        ("[jobs]\nmax_seconds = 0", "jobs: 'max_seconds' must be > 0: 0"),
        ("[embedder]\nmodel = 3", "embedder.model: expected text, not 3"),
        (
            '[identity]\nroles = ["root"]',
            "identity.roles[0]: expected one of agent, curator, operator, not 'root'",
        ),
        ("sync = 3", "sync: expected a table, not 3"),
        ('import_path = "."', "import_path: expected a list, not '.'"),
        ("source_paths = []", "source_paths: expected a table, not []"),
        ("custom_sources.A = 3", "custom_sources.A: expected a table, not 3"),
        ("custom_sources.A.options = {}", "custom_sources.A.factory: expected, and missing"),
        ("custom_sources.A.factory = 3", "custom_sources.A.factory: expected text, not 3"),
        (
            'custom_sources.A = { factory = "a:b", replace = "no" }',
            "custom_sources.A.replace: expected true or false, not 'no'",
        ),
        (
            'custom_sources.A = { factory = "a:b", options = [] }',
            "custom_sources.A.options: expected a table, not []",
        ),
        ('custom_parsers.A.factroy = "a:b"', "custom_parsers.A.factroy: there is no such key"),
        ('[[repositories]]\nrepo = "a"', "repositories[0].workspace: expected, and missing"),
        (
            '[[repositories]]\nrepo = "a"\nworkspace = "."\nstore = {}',
            "repositories[0].store: there is no such key",
        ),
        (
            'identity.tenant = "t"\n[[repositories]]\nrepo = "a"\nworkspace = "x"\n'
            '[[repositories]]\nrepo = "a"\ntenant = "t"\nworkspace = "y"',
            "repositories: 2 entries are a, team, of one tenant",
        ),
        ("= 3", "not valid TOML"),
    ],
)
def test_a_wrong_setting_is_named_with_its_path(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "tenantkb.toml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load({}, tmp_path)
    assert message in str(caught.value)


def test_settings_may_stand_in_the_table_of_the_tool(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    assert load({}, tmp_path) == Settings()
    with pytest.raises(ConfigurationError, match=r"pyproject\.toml has no table"):
        load({}, Path("/"), tmp_path / "pyproject.toml")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.tenantkb]\nraw_repo_source = true\nstore.path = "kb"\n[tool.other]\nx = 1\n'
    )
    for settings in (load({}, tmp_path), load({}, Path("/"), tmp_path / "pyproject.toml")):
        assert settings.raw_repo_source
        assert settings.store.path == tmp_path / "kb"


def test_two_files_with_settings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.tenantkb]\n")
    (tmp_path / "tenantkb.toml").write_text("")
    with pytest.raises(ConfigurationError, match="keep one of them"):
        load({}, tmp_path)
    assert load({}, tmp_path, tmp_path / "tenantkb.toml") == Settings()


def test_sources_and_parsers_are_named_alone_or_with_options(tmp_path: Path) -> None:
    (tmp_path / "tenantkb.toml").write_text(
        "[custom_sources]\n"
        'Short = "a.b:C"\n'
        'Long = { factory = "a.b:D", options = { depth = 2 }, replace = true }\n'
    )
    assert load({}, tmp_path).custom_sources == {
        "Short": FactorySettings("a.b:C"),
        "Long": FactorySettings("a.b:D", {"depth": 2}, replace=True),
    }


REPOSITORIES = """
raw_repo_source = true
source_paths = { TicketSource = "tickets" }
import_path = ["kb"]

[[repositories]]
repo = "app"
workspace = "app"

[[repositories]]
repo = "site"
workspace = "/srv/site"
tenant = "acme"
raw_repo_source = false
"""


def test_a_repository_is_read_as_the_top_level_says_where_it_is_silent(tmp_path: Path) -> None:
    (tmp_path / "tenantkb.toml").write_text(REPOSITORIES)
    settings = load({"TENANTKB_CODE_SOURCE": "true"}, tmp_path)
    app, site = settings.repositories
    assert (app.raw_repo_source, site.raw_repo_source) == (True, False)
    for entry in (app, site):
        assert entry.source_paths == {"TicketSource": "tickets"}
        assert entry.code_source
    assert (app.workspace, site.workspace) == (tmp_path / "app", Path("/srv/site"))
    assert (app.tenant, site.tenant) == (None, "acme")
    assert settings.import_path == (tmp_path / "kb",)


def test_every_setting_is_told_with_its_origin(tmp_path: Path) -> None:
    file = tmp_path / "tenantkb.toml"
    file.write_text(REPOSITORIES)
    told = {
        setting.key: (setting.value, setting.origin)
        for setting in explain({"TENANTKB_STORE_PORT": "8123", "TENANTKB_TOKEN": "s3"}, tmp_path)
    }
    assert told["store.port"] == (8123, "TENANTKB_STORE_PORT")
    assert told["identity.token"] == ("***", "TENANTKB_TOKEN")
    assert told["store.token"] == (None, "default")
    assert told["store.collection"] == ("knowledge-base", "default")
    assert told["import_path"] == ([str(tmp_path / "kb")], str(file))
    assert told["repositories[0].repo"] == ("app", str(file))
    assert told["repositories[0].raw_repo_source"] == (True, str(file))
    assert told["repositories[1].raw_repo_source"] == (False, str(file))
    assert told["repositories[1].visibility"] == ("team", "default")


def test_every_wrong_setting_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "tenantkb.toml").write_text("a = 1\n[store]\nb = 1\n[sync]\nbatch_size = 'x'\n")
    with pytest.raises(ConfigurationError) as caught:
        load({}, tmp_path)
    for path in (str(tmp_path / "tenantkb.toml"), "a:", "store.b:", "sync.batch_size:"):
        assert path in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("TENANTKB_STOREPATH", "x", "did you mean TENANTKB_STORE_PATH?"),
        ("TENANTKB_STORE_PORT", "x", "TENANTKB_STORE_PORT: expected a number, not 'x'"),
        ("TENANTKB_STORE_SSL", "maybe", "TENANTKB_STORE_SSL: expected true or false"),
        ("TENANTKB_CONFIG", "/no/such/file.toml", "cannot read /no/such/file.toml"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, name: str, value: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load({name: value}, tmp_path)
    assert message in str(caught.value)


def test_a_kind_of_ones_own_takes_options_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "tenantkb.toml").write_text(
        '[store]\nkind = "shelf"\noptions = { boards = 3 }\n'
        '[store.headers]\nx-chroma-token = "s3cret"\n'
        "[state]\npath = 'state.sqlite3'\n"
    )
    settings = load({"TENANTKB_STORE_WAIT": "2.5"}, tmp_path)
    assert (settings.store.kind, settings.store.options) == ("shelf", {"boards": 3})
    assert settings.store.wait == 2.5
    assert settings.store.headers == {"x-chroma-token": "s3cret"}
    assert "s3cret" not in repr(settings)
    assert settings.state.path == tmp_path / "state.sqlite3"


def test_secrets_are_not_shown() -> None:
    settings = load(
        {"TENANTKB_STORE_TOKEN": "s3cret-a", "TENANTKB_EMBEDDER_API_KEY": "s3cret-b"}, Path("/")
    )
    assert "s3cret" not in repr(settings)


def test_the_documentation_lists_every_setting_with_its_variable() -> None:
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    documented = dict(
        re.findall(r"^\| `([a-z_.]+)` \| `(TENANTKB_[A-Z_]+)` \|", page, re.MULTILINE)
    )
    assert documented == {
        ".".join(path): config._variable(path) for path, _ in config._leaves(Settings)
    }
