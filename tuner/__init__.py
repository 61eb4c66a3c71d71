"""Hyper-parameter search for deep clustering: `tuner search --space aae_unsup`."""

import os.path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> object:
        """`__version__`, looked up when it is asked for: `importlib.metadata` imports a dozen modules, and a start should be quick."""
        if name != "__version__":
            raise AttributeError(f"module 'tuner' has no attribute {name!r}")
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("tuner")
        except PackageNotFoundError:  # a plain checkout on the path
            return "0+unknown"


_checkout = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120 - os.path is imported already, pathlib is not
if os.path.isdir(f"{_checkout}/models") and not os.path.exists(f"{_checkout}/tuner/models"):  # noqa: PTH110, PTH112
    __path__.append(_checkout)  # a checkout keeps models/ beside tuner/; a wheel has tuner/models/
