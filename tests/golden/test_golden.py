"""Extraction of the mini workspace, byte for byte as the JavaScript system wrote it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tenantkb.adapters.sources.registry import WorkspaceSources
from tenantkb.application.writing.create import create
from tenantkb.domain.extraction import ExtractionReport, Severity

HERE = Path(__file__).parent
WORKSPACE = HERE / "mini-neo-workspace"
EXPECTED = HERE / "mini-neo-workspace.jsonl"


@pytest.fixture(scope="module")
def extracted() -> tuple[list[str], ExtractionReport]:
    out = io.StringIO()
    report = create(WorkspaceSources(), WORKSPACE, out)
    return out.getvalue().split("\n"), report


def test_every_line_equals_the_one_of_the_javascript_system(extracted):
    assert extracted[0] == EXPECTED.read_bytes().decode().split("\n")


def test_the_report_counts_the_lines_of_each_source_in_extraction_order(extracted):
    report = extracted[1]
    assert dict(report.counts) == {
        "AdrSource": 3,
        "ApiSource": 88,
        "ConceptSource": 14,
        "DiscussionSource": 3,
        "LearningSource": 21,
        "PullRequestSource": 8,
        "ReleaseNotesSource": 6,
        "SkillSource": 15,
        "TicketSource": 12,
        "TestSource": 31,
    }
    assert list(report.counts) == WorkspaceSources().names()
    assert report.total == 201


def test_modules_that_do_not_parse_are_told_and_nothing_is_a_failure(extracted):
    report = extracted[1]
    assert {found.path: found.severity for found in report.diagnostics} == {
        "src/ab/broken.mjs": Severity.WARNING,
        "test/playwright/unit/attrs.spec.mjs": Severity.NOTICE,
        "test/playwright/unit/broken.spec.mjs": Severity.NOTICE,
        "test/playwright/unit/shebang.spec.mjs": Severity.NOTICE,
    }
    assert report.is_complete
