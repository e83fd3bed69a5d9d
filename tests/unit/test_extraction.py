"""What an extraction tells of files without chunks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tenantkb.domain.extraction import Diagnostic, ExtractionReport, Severity

paths = st.lists(st.sampled_from(["a", "b", "ab", "a.b"]), min_size=1, max_size=4).map("/".join)
diagnostics = st.builds(
    Diagnostic, paths, st.just("reason"), st.sampled_from(Severity), affects_all=st.booleans()
)


@given(st.lists(diagnostics, max_size=5), paths)
def test_rows_stay_of_what_failed_and_of_what_lies_below_it(
    found: list[Diagnostic], path: str
) -> None:
    report = ExtractionReport({}, tuple(found))
    keeping = {each.path for each in found if each.severity in {Severity.WARNING, Severity.FAILURE}}
    assert (path in report.kept()) == any(f"{path}/".startswith(f"{each}/") for each in keeping)
    assert report.tells_what_is_gone != any(each.affects_all for each in found)


def test_a_workspace_that_cannot_be_listed_keeps_everything() -> None:
    assert "a/b" in ExtractionReport({}, (Diagnostic(".", "Permission denied"),)).kept()


def test_what_is_skipped_is_counted_by_reason() -> None:
    found = [Diagnostic("x", reason, Severity.SKIPPED) for reason in ("b", "a", "c", "c")]
    report = ExtractionReport({}, (*found, Diagnostic("y", "a", Severity.NOTICE)))
    assert list(report.skipped().items()) == [("c", 2), ("a", 1), ("b", 1)]
    assert report.is_empty
    assert not ExtractionReport({}, (Diagnostic("y", "a"),)).is_empty
