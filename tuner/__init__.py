"""Hyper-parameter search for deep clustering: `tuner search --space aae_unsup`."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

try:
    __version__ = version("tuner")
except PackageNotFoundError:  # a plain checkout on the path
    __version__ = "0+unknown"

_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "models").is_dir() and not (_checkout / "tuner" / "models").exists():
    __path__.append(str(_checkout))  # a checkout keeps models/ beside tuner/; a wheel has tuner/models/
