# What `import tuner` offers, for editors and type checkers: __init__.py looks these names up when they are asked for.
from tuner.api.best import Best as Best
from tuner.api.known import models as models
from tuner.api.known import new_model as new_model
from tuner.api.models import check as check
from tuner.api.models import data as data
from tuner.api.models import describe as describe
from tuner.api.reproduce import recipes as recipes
from tuner.api.reproduce import reproduce as reproduce
from tuner.api.run import Run as Run
from tuner.api.run import load as load
from tuner.api.run import runs as runs
from tuner.api.search import search as search
from tuner.api.simulate import simulate as simulate
from tuner.api.train import train as train
from tuner.api.tuned import TunedDeepClustering as TunedDeepClustering
from tuner.errors import UserError as UserError
from tuner.inference.estimator import DeepClustering as DeepClustering
from tuner.shipped import spaces as spaces

__version__: str
