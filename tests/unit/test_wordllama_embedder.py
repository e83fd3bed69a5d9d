import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np

from tenantkb.adapters.embedders.wordllama import WordLlamaEmbedder


def test_the_vector_of_one_plain_word_is_the_librarys_own() -> None:
    import wordllama  # here, as importing it configures a root logger that has no handler yet

    library = wordllama.WordLlama.load(
        cache_dir=Path(wordllama.__file__).parent, disable_download=True
    )
    words = ["worker", "configuration", "überraschung", "東京"]
    ours = WordLlamaEmbedder().embed(words)
    np.testing.assert_allclose(ours, library.embed(words, norm=True), atol=1e-6)


def test_the_library_itself_is_never_imported() -> None:
    program = (
        "import sys, logging\n"
        "from tenantkb.adapters.embedders.wordllama import WordLlamaEmbedder\n"
        "WordLlamaEmbedder().embed(['text'])\n"
        "assert 'wordllama' not in sys.modules\n"
        "assert not logging.getLogger().handlers\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])


def test_memory_is_bounded_by_the_batch_and_not_by_the_number_of_texts() -> None:
    embedder = WordLlamaEmbedder()
    texts = [f"text {number} about subject{number} " * 50 for number in range(4000)]
    tracemalloc.start()
    embedder.embed(texts[:1000])
    small = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    result = embedder.embed(texts)
    large = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert large < small + result.nbytes + 2_000_000


def test_the_name_tells_the_model_its_weights_and_the_cutting_of_words() -> None:
    assert WordLlamaEmbedder().profile.name == "wordllama-l2_supercat-256-461d9f72-words1"
