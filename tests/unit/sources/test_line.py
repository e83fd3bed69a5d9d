from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tenantkb.adapters.sources.base import ChunkSource
from tenantkb.domain.canonical import stringify
from tenantkb.ports.extraction import Workspace

texts = st.text(st.characters(exclude_categories=()), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts


def unused(*arguments: Any) -> Any:
    raise AssertionError(arguments)


class Given(ChunkSource):
    default_paths = MappingProxyType({})

    def chunks(self):
        yield dict(self.paths)


@given(st.dictionaries(texts, scalars | st.lists(scalars, max_size=2), max_size=4))
def test_a_line_is_what_stringify_gives_for_any_chunk(chunk):
    lines = []

    class Out:
        def write(self, line):
            lines.append(line)

    workspace = Workspace(Path(), unused, unused, unused, unused, unused, paths=chunk)
    assert Given(workspace).extract(Out(), lambda _: "h") == 1
    assert lines == [stringify({**chunk, "hash": "h"}) + "\n"]
