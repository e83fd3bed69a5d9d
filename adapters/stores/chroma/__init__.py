"""Chroma as the vector store, in this process or behind HTTP.

Importing this package, or making an engine, does not import Chroma: the first call that needs it
does.
"""

from tenantkb.adapters.stores.chroma.engine import ChromaEngine, open_path, open_server

__all__ = ["ChromaEngine", "open_path", "open_server"]
