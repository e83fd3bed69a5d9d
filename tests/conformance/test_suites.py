"""The suites themselves: made of many classes, of which none hides a test of another."""

from __future__ import annotations

from collections import Counter
from inspect import getdoc

import pytest

from tenantkb.testing import EngineSuite, FailClosedSuite, StoreSuite

EACH_SUITE = pytest.mark.parametrize("suite", [EngineSuite, FailClosedSuite])


def named_tests(suite: type[StoreSuite]) -> list[tuple[str, object]]:
    """All tests of all classes that a suite is made of."""
    return [
        (name, method)
        for part in suite.__mro__
        for name, method in vars(part).items()
        if name.startswith("test_")
    ]


@EACH_SUITE
def test_no_test_of_a_suite_hides_another(suite: type[StoreSuite]) -> None:
    """Fails: two tests have one name, and only one of them ever runs; rename it."""
    counted = Counter(name for name, _ in named_tests(suite))
    assert len(counted) > 50
    assert [name for name, count in counted.items() if count > 1] == []


@EACH_SUITE
def test_every_test_says_what_to_do_when_it_fails(suite: type[StoreSuite]) -> None:
    """Fails: an author of a store meets a red test without a word; begin with ``Fails:``."""
    silent = [
        name for name, test in named_tests(suite) if not (getdoc(test) or "").startswith("Fails")
    ]
    assert silent == []


def test_a_store_without_its_fixtures_is_told_of_them(pytester: pytest.Pytester) -> None:
    """Fails: whoever forgets a fixture gets an error that does not name it."""
    pytester.makeconftest('pytest_plugins = ["tenantkb.testing.plugin"]')
    pytester.makepyfile(
        """
        from tenantkb.testing import EngineSuite

        class TestNothing(EngineSuite):
            pass
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-k", "place")
    result.stdout.fnmatch_lines(["*NotImplementedError: TestNothing has no fixture make_engine*"])
