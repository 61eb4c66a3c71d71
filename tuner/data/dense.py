"""What people hold their data in, as numpy arrays: pandas, pyarrow, torch, scipy's sparse matrices, lists."""

from __future__ import annotations

from typing import Any


def dense(x: Any) -> Any:
    """The same as something that numpy can read, whole and in this process's memory. What numpy or pandas made stays as it is, and what
    has named columns keeps them.

    A sparse matrix is filled up with its zeros: networks see every feature of a row.
    """
    if hasattr(x, "detach") and hasattr(x, "numpy"):  # torch: the tensor may be on a GPU, or part of a graph
        return x.detach().cpu().numpy()
    if hasattr(x, "toarray"):  # scipy
        return x.toarray()
    if hasattr(x, "column_names") and hasattr(x, "to_pandas"):  # pyarrow
        return x.to_pandas()
    return x
