"""RCV1's four root categories as 10,000 documents of 2,000 features: close to REUTERS-10K of the deep clustering papers, not its rows.

Both keep the documents that carry exactly one of the categories CCAT, ECAT, GCAT and MCAT, and scale rows of unit length by the root of
2,000. The papers count words anew; here the weights are scikit-learn's RCV1, those of Lewis et al. 2004, (1 + log tf) idf over 47,236
stems, of which the 2,000 that occur in the most of the kept documents are kept and the rows made unit again.

rcv1_4        a random 10,000 of all, as in DEC's and VaDE's data (a permutation of seed 1234)
rcv1_4_first  the first 10,000 in the order of the published files, the first test part's, as in the data of DEC's Keras port and of IDEC
Shapes: N documents, V stems, T topics.
"""

from __future__ import annotations

import pickle
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import first_line

from .raw import Raw

ROOTS = ("CCAT", "ECAT", "GCAT", "MCAT")
N_DOCUMENTS, N_FEATURES = 10_000, 2_000
LAST_TRAINING_ID = 26_150  # the training documents' identifiers come before the test ones'


def fetch(file: str, first: bool, into: Path) -> None:
    """Writes a sampling to `file` in `into`, a folder in the data folder. scikit-learn's own files stay in the data folder, where it looks
    for them first: once some 650 MB to download and about 4 GB of memory.

    Raises:
        OSError, HTTPException: they are not there and cannot be downloaded.
        RuntimeError: they are damaged.
    """
    from sklearn.datasets import fetch_rcv1

    home = into.parent
    try:
        found = fetch_rcv1(data_home=home)
        corpus = Corpus(x_NV=found.data, id_N=found.sample_id, topics_NT=found.target, topics=list(found.target_names))
        x_ND, y_N = sample(corpus, first)
    except (ValueError, EOFError, KeyError, zlib.error, pickle.UnpicklingError) as error:
        raise RuntimeError(f"scikit-learn's files in {home / 'RCV1'} are damaged, delete them ({first_line(error)})") from error
    (into / file).parent.mkdir(exist_ok=True)
    np.savez_compressed(into / file, x=x_ND, y=y_N)


@dataclass(frozen=True, kw_only=True, eq=False)
class Corpus:
    """All documents, the training ones before the others. `x_NV` and `topics_NT`: sparse; `id_N`: the documents' identifiers;
    `topics`: the names of the T topics."""

    x_NV: Any
    id_N: NDArray[Any]
    topics_NT: Any
    topics: list[str]


def sample(corpus: Corpus, first: bool) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features and classes, in the order of `ROOTS`."""
    roots_NC = corpus.topics_NT[:, [corpus.topics.index(root) for root in ROOTS]].toarray()
    kept_N = np.flatnonzero(roots_NC.sum(axis=1) == 1)
    x_NV, y_N = corpus.x_NV[kept_N], roots_NC[kept_N].argmax(axis=1)
    n_documents_V = np.bincount(x_NV.indices, minlength=x_NV.shape[1])
    commonest = np.sort(np.argsort(-n_documents_V, kind="stable")[:N_FEATURES])
    # The published files begin with the test parts. RandomState: numpy promises that its streams never change.
    in_files = np.argsort(corpus.id_N[kept_N] <= LAST_TRAINING_ID, kind="stable")
    order = in_files if first else np.random.RandomState(1234).permutation(len(kept_N))
    rows = order[:N_DOCUMENTS]
    x_ND = x_NV[rows][:, commonest].toarray()
    length_N1 = np.sqrt(np.square(x_ND).sum(axis=1, keepdims=True))
    x_ND *= np.sqrt(N_FEATURES) / np.where(length_N1 > 0, length_N1, 1.0)  # a document may hold none of these stems
    return x_ND.astype(np.float32), y_N[rows]


def read(paths: list[Path]) -> Raw:
    with np.load(paths[0], allow_pickle=False) as arrays:
        return Raw(x_N=arrays["x"], y_N=arrays["y"])
