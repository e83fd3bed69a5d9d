"""What the doctor says of installations, sound and broken, and that its remedies are ones."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tenantkb.adapters.stores.sqlite import SqliteEngine
from tenantkb.domain.ids import ChunkId
from tenantkb.ports.engine import RawRow
from tenantkb.testing.samples import keyed, vectors, writing
from tests.embedding_server import DIMENSION, embedding_server
from tests.end_to_end.conftest import Installation, Outcome
from tests.servers import chroma_process

MakeNotes = Callable[..., Path]
OPERATOR = {"TENANTKB_ROLES": "operator"}


def checks(outcome: Outcome) -> dict[str, Any]:
    """Every check by its name; the exit code agrees with them."""
    found = {check["name"]: check for check in outcome.json["checks"]}
    assert len(found) == len(outcome.json["checks"])
    errors = [check for check in found.values() if check["state"] == "error"]
    assert outcome.code == (1 if errors else 0)
    assert outcome.json["states"]["error"] == len(errors)
    for check in found.values():
        assert (check["remedy"] is None) == (check["state"] == "ok"), check
    return found


def in_state(found: dict[str, Any], state: str) -> set[str]:
    return {name for name, check in found.items() if check["state"] == state}


@pytest.fixture
def filled(tenantkb: Installation, notes: MakeNotes) -> Installation:
    tenantkb.environment.update(TENANTKB_TENANT="acme", TENANTKB_AGENT="ada")
    assert tenantkb("sync", notes(5), "--repo", "app").code == 0
    return tenantkb


def test_a_sound_installation_is_ok_in_every_check(filled: Installation) -> None:
    found = checks(filled("doctor", "--json", **OPERATOR))
    assert in_state(found, "ok") == set(found)
    assert found["identity"]["finding"] == "acme/ada, agent, operator"
    assert (
        found["store.index"]["finding"]
        == "the index finds the rows that the caller may read, 5 in number"
    )


def test_who_is_no_operator_has_its_own_rows_examined(filled: Installation) -> None:
    found = checks(filled("doctor", "--json", "--as", "beta/eve"))
    assert in_state(found, "error") == set()
    assert in_state(found, "skipped") >= {"store.vectors", "store.stamps"}
    assert found["store.stamps"]["finding"] == "needs the role operator"
    assert found["store.index"]["finding"].endswith(", 0 in number")


def test_before_the_first_sync_all_is_well_and_nothing_is_made(tenantkb: Installation) -> None:
    found = checks(tenantkb("doctor", "--json", **OPERATOR))
    assert in_state(found, "ok") == set(found)
    assert not Path(tenantkb.environment["TENANTKB_STORE_PATH"]).exists()
    assert list(tenantkb.folder.iterdir()) == []


def test_people_get_a_line_a_check_and_its_remedy_below(filled: Installation) -> None:
    done = filled("doctor", TENANTKB_EMBEDDER_KIND="hashing")
    assert (done.code, done.errors) == (1, "")
    lines = done.output.splitlines()
    [place] = [number for number, line in enumerate(lines) if line.startswith("error ")]
    assert re.match(
        r"error    store\.embedder +the collection holds vectors of wordllama", lines[place]
    )
    assert lines[place + 1].startswith("         → Configure the embedder that made the collection")
    assert re.fullmatch(r"\d+ ok, (\d+ warning, )?1 error, \d+ skipped", lines[-1])
    assert "\x1b" not in done.output


def test_another_embedder_is_an_error(filled: Installation) -> None:
    found = checks(filled("doctor", "--json", **OPERATOR, TENANTKB_EMBEDDER_KIND="hashing"))
    assert in_state(found, "error") == {"store.embedder"}
    assert in_state(found, "skipped") == set()


def test_an_embedder_that_does_not_answer_is_an_error(filled: Installation) -> None:
    with embedding_server() as service:
        variables = {
            "TENANTKB_EMBEDDER_KIND": "openai",
            "TENANTKB_EMBEDDER_MODEL": "test",
            "TENANTKB_EMBEDDER_BASE_URL": service.base_url,
            "TENANTKB_EMBEDDER_DIMENSION": str(DIMENSION),
        }
        assert checks(filled("doctor", "--json", **variables))["embedder"]["state"] == "ok"
        variables["TENANTKB_EMBEDDER_DIMENSION"] = "7"
        found = checks(filled("doctor", "--json", **variables))
    assert in_state(found, "error") == {"embedder"}
    assert "correct embedder.base_url" in found["embedder"]["remedy"]
    assert f"gives vectors of {DIMENSION} dimensions" in found["embedder"]["finding"]
    del variables["TENANTKB_EMBEDDER_MODEL"]
    found = checks(filled("doctor", "--json", **variables))
    assert "it needs embedder.model and embedder.dimension" in found["embedder"]["finding"]
    assert found["store.embedder"]["remedy"] == "First do what embedder says."


def test_a_server_is_examined_and_one_that_is_down_is_an_error(
    tenantkb: Installation, notes: MakeNotes, tmp_path: Path
) -> None:
    with chroma_process(tmp_path / "server") as address:
        tenantkb.environment.update(
            TENANTKB_STORE_KIND="chroma-http", TENANTKB_STORE_PORT=str(address.port)
        )
        assert tenantkb("sync", notes(3)).code == 0
        found = checks(tenantkb("doctor", "--json", **OPERATOR))
        assert in_state(found, "ok") == set(found)
        assert found["store.version"]["finding"].startswith("the server speaks version 1.")
    found = checks(tenantkb("doctor", "--json", **OPERATOR))
    assert "store.reachable" in in_state(found, "error")
    assert f"127.0.0.1:{address.port} does not answer" in found["store.reachable"]["finding"]
    assert "server" in found["store.reachable"]["remedy"]
    assert found["store.version"]["remedy"] == "First do what store.reachable says."


def test_a_configuration_that_is_not_valid_leaves_the_others_to_be_made(
    tenantkb: Installation,
) -> None:
    sound = checks(tenantkb("doctor", "--json"))
    found = checks(tenantkb("doctor", "--json", TENANTKB_TENANCY_SHARED_TENANT="A B"))
    assert in_state(found, "error") == {"configuration"}
    assert found["configuration"]["finding"].startswith("'A B' is not a tenant id")
    (tenantkb.folder / "tenantkb.toml").write_text("[store]\npaht = 'x'\n")
    found = checks(tenantkb("doctor", "--json"))
    assert list(found) == list(sound)[: len(found)]
    assert "store.stamps" in found
    assert in_state(found, "ok") == {"python", "packages"}
    assert in_state(found, "error") == {"configuration"}
    assert (
        "store.paht: there is no such key; did you mean path?" in found["configuration"]["finding"]
    )


def test_a_caller_who_is_nobody_leaves_the_others_to_be_made(
    filled: Installation, tmp_path: Path
) -> None:
    for arguments, variables, said in (
        (["--as", "ACME"], {}, "'ACME' is not a tenant id"),
        ([], {"TENANTKB_TOKEN": "x"}, "takes its identity from configuration"),
    ):
        found = checks(filled("doctor", "--json", *arguments, **variables))
        assert in_state(found, "error") == {"identity"}
        assert said in found["identity"]["finding"]
        assert found["store.index"]["remedy"] == "First do what identity says."
        assert found["store.embedder"]["state"] == "ok"
    del filled.environment["TENANTKB_TENANT"], filled.environment["TENANTKB_AGENT"]
    keys = tmp_path / "keys.pem"
    token = {
        "TENANTKB_IDENTITY_KIND": "token",
        "TENANTKB_IDENTITY_KEYS": str(keys),
        "TENANTKB_IDENTITY_ISSUER": "https://issuer.example",
        "TENANTKB_IDENTITY_AUDIENCE": "tenantkb",
    }
    found = checks(filled("doctor", "--json", **token))
    assert found["identity"]["finding"] == "there is no token"
    found = checks(filled("doctor", "--json", "--as", "acme", **token))
    assert found["identity"]["finding"] == "the token tells who calls: --as cannot"
    assert in_state(found, "error") == {"identity"}


def test_a_store_of_a_kind_that_there_is_not_is_an_error(tenantkb: Installation) -> None:
    found = checks(tenantkb("doctor", "--json", TENANTKB_STORE_KIND="shelf"))
    assert in_state(found, "error") == {"store.reachable"}
    assert "there is no store shelf; there are sqlite" in found["store.reachable"]["finding"]
    assert found["identity"]["state"] == "ok"


def test_the_remedy_for_rows_that_nobody_can_read_makes_them_readable(
    filled: Installation,
) -> None:
    with closing(SqliteEngine(Path(filled.environment["TENANTKB_STORE_PATH"]))) as engine:
        lost = {"content": "no stamp", "source": "a.md"}
        planted = [
            RawRow("team:acme", ChunkId("x"), lost),
            keyed(writing("acme"), "y")._replace(label="team:beta"),
        ]
        engine.put(planted, vectors(2, dimension=256), exact=True)
    found = checks(filled("doctor", "--json", **OPERATOR))
    assert in_state(found, "error") == {"store.stamps"}
    assert found["store.stamps"]["remedy"].startswith("Export the collection")
    assert filled("backup", "export", "rows.jsonl", **OPERATOR).code == 0
    replacing = ("--mode", "replace", "--confirm", "knowledge-base", "--adopt", "acme/found")
    restored = filled("backup", "import", "rows.jsonl", *replacing, "--json", **OPERATOR)
    assert (restored.code, restored.json["adopted"]) == (0, 1)
    found = checks(filled("doctor", "--json", **OPERATOR))
    assert in_state(found, "error") == set()
    assert found["store.index"]["finding"].endswith(", 7 in number")


JUNK = b"junk \x00\xff\x1b[2J" * 400


def test_junk_in_any_file_of_ours_is_survived_and_seen(filled: Installation) -> None:
    folder = Path(filled.environment["TENANTKB_STORE_PATH"])
    assert filled("backup", "export", "rows.jsonl", **OPERATOR).code == 0
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert folder / "store.sqlite3" in files
    for file in files:
        sound = file.read_bytes()
        for junk in (JUNK, sound[: len(sound) // 2], b""):
            file.write_bytes(junk)
            done = filled("doctor", "--json", **OPERATOR)
            found = checks(done)
            assert "Traceback" not in done.errors
            if file.name == "store.sqlite3" and junk:  # an empty one is none yet
                assert in_state(found, "error"), junk[:20]
        file.write_bytes(sound)
    assert in_state(checks(filled("doctor", "--json", **OPERATOR)), "error") == set()


def test_the_remedy_for_a_damaged_store_makes_it_whole(filled: Installation) -> None:
    folder = Path(filled.environment["TENANTKB_STORE_PATH"])
    assert filled("backup", "export", "rows.jsonl", **OPERATOR).code == 0
    (folder / "store.sqlite3").write_bytes(JUNK)
    found = checks(filled("doctor", "--json", **OPERATOR))
    assert "store.reachable" in in_state(found, "error")
    folder.rename(folder.with_name("damaged"))
    assert filled("backup", "import", "rows.jsonl", **OPERATOR).code == 0
    found = checks(filled("doctor", "--json", **OPERATOR))
    assert in_state(found, "error") == set()
    assert found["store.vectors"]["finding"].startswith("5 rows")


def test_workspaces_and_extensions_of_the_configuration_are_examined(
    tenantkb: Installation,
) -> None:
    (tenantkb.folder / "tenantkb.toml").write_text(
        "[custom_sources]\nMine = 'mine:Source'\n"
        "[[repositories]]\nrepo = 'app'\nworkspace = 'app'\n"
    )
    found = checks(tenantkb("doctor", "--json"))
    assert in_state(found, "error") == {"extensions", "workspaces"}
    assert "cannot load 'mine:Source'" in found["extensions"]["finding"]
    (tenantkb.folder / "app").mkdir()
    (tenantkb.folder / "mine.py").write_text(
        "class Source:\n    def __init__(self, workspace): ...\n"
        "    def extract(self, write_stream, create_hash): return 0\n"
    )
    found = checks(tenantkb("doctor", "--json", TENANTKB_IMPORT_PATH=str(tenantkb.folder)))
    assert in_state(found, "error") == set()


def test_what_follows_from_the_rows_is_repaired(filled: Installation) -> None:
    """Fails: after postings are lost, rows are found by no word for good."""
    file = Path(filled.environment["TENANTKB_STORE_PATH"]) / "store.sqlite3"
    before = filled("list").output
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("DELETE FROM posting")
    found = checks(filled("doctor", "--json", **OPERATOR))
    assert in_state(found, "error") == {"store.postings"}
    assert filled("repair").code == 3
    repaired = filled("repair", "--json", **OPERATOR)
    assert (repaired.code, repaired.json["rows"]) == (0, 5)
    found = checks(filled("doctor", "--json", **OPERATOR))
    assert in_state(found, "error") == set()
    assert filled("list").output == before
