"""The names of the published data sets. Quick to import, for completion and help; `tuner/data/published.py` has the data sets."""

from __future__ import annotations

_NEAR_REUTERS = "close to the papers' REUTERS-10K, not the same rows"
# Each with what its samples are near to, where the figures that papers publish are of other samples.
NAMES: dict[str, str] = {"digits": "", "mnist": "", "usps": "", "svhn": "", "rcv1_4": _NEAR_REUTERS, "rcv1_4_first": _NEAR_REUTERS}
NAMES |= dict.fromkeys(("fashion_mnist", "kmnist", "emnist", "cifar10", "cifar100", "stl10", "moving_digits", "moving_mnist"), "")
NEAR = {name: near for name, near in NAMES.items() if near}
ENDINGS = ("npz", "npy", "csv", "tsv", "parquet", "feather", "mat", "h5", "h5ad")  # of these files, `my.csv`
FORMATS = ("npz", "npy", "csv", "tsv", "parquet", "feather", "mat", "h5", "h5ad", "images")  # files of the user's own, `npz:PATH`
