"""Vectors of Chroma's index, where a part of it may be lost or the whole may be torn.

Opening a torn index may answer, fail, hang, or end the process by a signal. :class:`IndexReader`
lets another process do it: :func:`serve` opens the files there and answers requests on its standard
input.
"""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Final, Self

import numpy as np

from tenantkb.ports.engine import Vector

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

_SECONDS: Final = 120.0
"""For opening and one answer. What takes longer is taken for an endless loop over a torn index."""

_PROGRAM: Final = f"import sys; from {__name__} import serve; serve(*sys.argv[1:])"


class IndexReaderDied(Exception):  # noqa: N818 # what happened, not an error of this program
    """The process that read the index ended, or was ended because it did not answer."""


class IndexReader:
    """Another process that has opened Chroma's files, which nobody else may use meanwhile.

    Args:
        folder: Of Chroma's files.
        collection: Name of the collection.
    """

    def __init__(self, folder: Path, collection: str) -> None:
        # -P: this process's working folder may hold packages of our names.
        self._process = subprocess.Popen(  # noqa: S603 # our own program
            [sys.executable, "-P", "-c", _PROGRAM, str(folder), collection],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def vectors(self, ids: Sequence[str]) -> dict[str, Vector]:
        """The vectors, shape ``(dimension,)``, of those of the rows that have one in the index.

        Raises:
            IndexReaderDied: see there; the reader is of no use afterwards.
        """
        limit = threading.Timer(_SECONDS, self._process.kill)
        limit.start()
        try:
            requests, answers = _pipe(self._process.stdin), _pipe(self._process.stdout)
            with suppress(BrokenPipeError):
                requests.write(json.dumps(ids) + "\n")
                requests.flush()
            answer = answers.readline()
        finally:
            limit.cancel()
        if not answer:
            raise IndexReaderDied(_end(self._process.wait()))
        return {
            row_id: np.frombuffer(base64.b64decode(vector), "<f4").astype(np.float32)
            for row_id, vector in json.loads(answer).items()
        }

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):
            _pipe(self._process.stdin).close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS)
        self._process.kill()
        _pipe(self._process.stdout).close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def stored_vectors(collection: Collection, ids: Sequence[str]) -> dict[str, Vector]:
    """The vectors of those of the rows that have one in the index.

    Chroma refuses a whole request for one row that its index does not know, so the others are found
    by halving.
    """
    from chromadb.errors import InternalError

    if not ids:
        return {}
    try:
        answer = collection.get(ids=list(ids), include=["embeddings"])
    except InternalError:
        if len(ids) == 1:
            return {}
        middle = len(ids) // 2
        return {
            **stored_vectors(collection, ids[:middle]),
            **stored_vectors(collection, ids[middle:]),
        }
    vectors = np.asarray(answer["embeddings"], np.float32)
    return dict(zip(answer["ids"], vectors, strict=True))


def _end(code: int) -> str:
    if code < 0:
        return f"the process that opened it was ended by {signal.Signals(-code).name}"
    return f"the process that opened it failed with code {code}"


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise ValueError("the process was started without pipes")
    return pipe


def serve(folder: str, name: str) -> None:
    """Answer lists of ids with vectors by id, each as a line of JSON."""
    from tenantkb.adapters.stores.chroma.connection import client_on

    client = client_on(Path(folder))
    collection = client.get_collection(name, embedding_function=None)
    for request in sys.stdin:
        found = stored_vectors(collection, json.loads(request))
        answer = {
            row_id: base64.b64encode(vector.astype("<f4").tobytes()).decode()
            for row_id, vector in found.items()
        }
        print(json.dumps(answer), flush=True)
    client.close()
