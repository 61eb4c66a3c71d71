"""Hyper-parameter search for deep clustering: `tuner search --space aae_unsup`, or `tuner.search("aae_unsup")`.

Names are looked up when they are asked for: `import tuner` loads neither torch nor Ray, and a start should be quick. `__init__.pyi` gives
their types.
"""

import os.path
import sys
from importlib import import_module

_LATER = {
    "Best": "tuner.api.best",
    "DeepClustering": "tuner.inference.estimator",
    "Run": "tuner.api.run",
    "TunedDeepClustering": "tuner.api.tuned",
    "UserError": "tuner.errors",
    "check": "tuner.api.models",
    "describe": "tuner.api.models",
    "load": "tuner.api.run",
    "new_model": "tuner.api.known",
    "recipes": "tuner.api.reproduce",
    "simulate": "tuner.api.simulate",
    "spaces": "tuner.shipped",
    "train": "tuner.api.train",
}
# Five functions have the names of packages, `tuner/data/`, `tuner/reproduce/`, `tuner/runs/`, `tuner/search/` and `models/`. A package is
# an attribute of `tuner` from when it is imported on, so these five can be called.
_CALLED = {
    "data": "tuner.api.models",
    "models": "tuner.api.known",
    "reproduce": "tuner.api.reproduce",
    "runs": "tuner.api.run",
    "search": "tuner.api.search",
}


def __getattr__(name: str) -> object:
    if name in _CALLED:
        return import_module(f"tuner.{name}")
    if name in _LATER:
        found = globals()[name] = getattr(import_module(_LATER[name]), name)
        return found
    if name != "__version__":
        raise AttributeError(f"module 'tuner' has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version  # imports a dozen modules

    try:
        return version("tuner")
    except PackageNotFoundError:  # a plain checkout on the path
        return "0+unknown"


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, *_CALLED, "__version__"})


_Module = type(sys)


class _Called(_Module):
    """A package that is a function, too."""

    def _function(self):
        name = self.__name__.rpartition(".")[2]
        return getattr(import_module(_CALLED[name]), name)

    def __call__(self, *given, **named):
        return self._function()(*given, **named)

    @property
    def __signature__(self):  # what help, editors and notebooks show
        from inspect import signature

        return signature(self._function())

    @property
    def __doc__(self):
        return self._function().__doc__

    def __reduce__(self):  # by its name, as other modules are pickled by who pickles modules
        return import_module, (self.__name__,)


class _Front(_Module):
    """`tuner` itself. Python sets a package that was imported as an attribute of the one above it."""

    def __setattr__(self, name, value):
        if name in _CALLED and type(value) is _Module:
            value.__class__ = _Called
        super().__setattr__(name, value)

    __reduce__ = _Called.__reduce__


sys.modules[__name__].__class__ = _Front

_checkout = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120 - os.path is imported already, pathlib is not
if os.path.isdir(f"{_checkout}/models") and not os.path.exists(f"{_checkout}/tuner/models"):  # noqa: PTH110, PTH112
    __path__.append(_checkout)  # a checkout keeps models/ beside tuner/; a wheel has tuner/models/
