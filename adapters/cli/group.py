"""A group of commands that imports each when it is run, and lists them by purpose."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click


class Entry(NamedTuple):
    """A command.

    Attributes:
        module: Where it is, within this package.
        name: What it is called there.
        summary: The first line of its help.
    """

    module: str
    name: str
    summary: str


class LazyGroup(click.Group):
    """Commands that cost nothing as long as another one is run.

    Args:
        sections: The commands by name, by the purpose under which they are listed.
    """

    def __init__(
        self, *arguments: Any, sections: Mapping[str, Mapping[str, Entry]], **named: Any
    ) -> None:
        super().__init__(*arguments, **named)
        self._sections = sections
        self._entries = {
            name: entry for section in sections.values() for name, entry in section.items()
        }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self._entries.get(cmd_name)
        if entry is None:
            return None
        module = import_module(f"{__package__}.{entry.module}")
        command: click.Command = getattr(module, entry.name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self._entries))
        for purpose, section in self._sections.items():
            with formatter.section(purpose):
                formatter.write_dl(
                    [(name.ljust(width), entry.summary) for name, entry in section.items()]
                )
