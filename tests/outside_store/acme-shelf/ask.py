"""Keep a note in a shelf, and ask for it."""

from pathlib import Path

import tenantkb
from tenantkb import EmbedRequest, Settings
from tenantkb.adapters.configuration.settings import (
    EmbedderSettings,
    IdentitySettings,
    StoreSettings,
)

settings = Settings(
    store=StoreSettings(kind="shelf", path=Path("notes"), options={"durable": False}),
    embedder=EmbedderSettings(kind="letters", options={"alphabet": "aeiou"}),
    identity=IdentitySettings(tenant="acme", agent="ada"),
)
note = {"type": "note", "name": "Queue", "content": "Drain the queue first.", "source": "queue.md"}

with tenantkb.open(settings) as knowledge_base:
    context = knowledge_base.authenticate()
    knowledge_base.embed(context, EmbedRequest("operations"), [(1, note)])
    for answer in knowledge_base.query(context, "how is the queue drained?"):
        print(answer.document.name, "-", answer.snippet)
