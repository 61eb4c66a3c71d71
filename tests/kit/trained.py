"""A model that was trained here, in the files that a search leaves of its winner."""

from collections.abc import Sequence
from pathlib import Path

from tuner.data.datasets import DatasetSpec, load
from tuner.model import load_model
from tuner.own_models import keep, read_own
from tuner.runs.configurations import Configuration
from tuner.runs.events import Run, TrialEnd
from tuner.runs.paths import BEST_WEIGHTS
from tuner.runs.winner import BEST, best_yaml
from tuner.space.reader import Options, read_space
from tuner.testing import short
from tuner.training import checkpoint
from tuner.training.loop import train

SPACE = "model: {model}\nmetric: {{name: n_used, goal: maximize}}\nparameters:\n  n_clusters: {{value: {n_clusters}}}\n"


def winner(
    folder: Path,
    model: str = "kmeans",
    *,
    dataset: str = "digits",
    limit: int | None = 700,
    scale: str | None = None,
    models: Sequence[Path] = (),
) -> Path:
    """The path of the `best.yaml`, with the weights beside it, of a model that was trained for an epoch or two. `models`: that the name is
    one of; the source is kept as a search keeps it."""
    folder.mkdir(parents=True, exist_ok=True)
    found = load_model(model, read_own(models))
    h = short(found, **({"n_clusters": 10} if found.labels == "partial" else {}))
    data = load(DatasetSpec(name=dataset, limit=limit, scale=scale))
    *_, last = train(found, h, data, seed=0)
    checkpoint.save(last.snapshot(), folder / BEST_WEIGHTS)
    (folder / "space.yaml").write_text(SPACE.format(model=model, n_clusters=h.n_clusters))
    spec = read_space(str(folder / "space.yaml"), options=Options(dataset=dataset, limit=limit, scale=scale, models=models))
    if spec.source is not None:
        keep(spec.source, folder)
    run = Run(name=folder.name, folder=folder, spec=spec, info={"data": data.identity.written()})
    end = TrialEnd(trial=0, state="complete", config=h.flat() | {"seed": 0}, score=3.0, metrics=last.metrics, epochs=last.epoch)
    (folder / BEST).write_text(best_yaml(run, Configuration(number=0, end=end), weights=True))
    return folder / BEST
