"""A program that pushes a document, as a transport does: ``python push.py FILE``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import tenantkb
from tenantkb.application.writing.ingest import parse_push


def main() -> None:
    """Push it for the identity of the settings."""
    document = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with tenantkb.open() as knowledge:
        context = knowledge.authenticate()
        request, files = parse_push(document, context)
        if not knowledge.ingest(context, request, files).is_complete:
            sys.exit("not everything could be stored")


if __name__ == "__main__":
    main()
