"""Hyper-parameter search for deep clustering: `tuner search --space aae_unsup`."""

import os.path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str
else:
    # Names that are looked up when they are asked for: `import tuner` loads neither torch nor Ray, and a start should be quick.
    _LATER = {"DeepClustering": "tuner.inference.estimator", "UserError": "tuner.errors"}

    def __getattr__(name: str) -> object:
        if name in _LATER:
            from importlib import import_module

            found = globals()[name] = getattr(import_module(_LATER[name]), name)
            return found
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
