"""Where settings come from, and how wrong ones are told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adapters import config
from adapters.config import Settings, load
from domain.errors import ConfigurationError


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
        (
            '[store]\nkind = "faiss"',
            "store.kind: expected one of chroma, chroma-http, memory, not 'faiss'",
        ),
        ("[embedder]\nmodel = 3", "embedder.model: expected text, not 3"),
        (
            '[identity]\nroles = ["root"]',
            "identity.roles[0]: expected one of agent, curator, operator, not 'root'",
        ),
        ("sync = 3", "sync: expected a table, not 3"),
        ("= 3", "not valid TOML"),
    ],
)
def test_a_wrong_setting_is_named_with_its_path(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "tenantkb.toml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load({}, tmp_path)
    assert message in str(caught.value)


def test_every_wrong_setting_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "tenantkb.toml").write_text("a = 1\n[store]\nb = 1\n[sync]\nbatch_size = 'x'\n")
    with pytest.raises(ConfigurationError) as caught:
        load({}, tmp_path)
    for path in ("a:", "store.b:", "sync.batch_size:"):
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
