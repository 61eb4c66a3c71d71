"""The space that a run was made with, read back from its folder, with what may change when it goes on."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuner.errors import UserError
from tuner.own_models import MODELS, Source, installed, kept_source, read_own, read_source
from tuner.runs.paths import SPACE
from tuner.runs.records import About
from tuner.runs.results import read_run
from tuner.space.earlier import Earlier
from tuner.space.keys import KEYS
from tuner.space.ranges import show
from tuner.space.reader import Options, read_space
from tuner.space.spec import Spec

from .same_data import whereabouts

logger = logging.getLogger("tuner")

_PARAMETERS = "parameters."  # what the names of a model's defaults begin with among those of a space

# --- the space ---------------------------------------------------------------------------------------------------------


def spec_of(folder: Path, trials: str | None, data_root: Path | None, dataset: str | None = None, hours: float | None = None) -> Spec:
    """The space of a run, with everything that the command line said when it began. `trials`: `80`, or `+50` for 50 more. `dataset`: the
    run's data under another name. `hours`: in place of those that it had.

    Raises:
        UserError: it cannot be read, or means something else by now.
    """
    about = _about(folder)
    options = _options(about, folder, _trials(trials, int(about["trials"])), dataset or whereabouts(about, folder, data_root), data_root)
    spec = read_space(str(folder / SPACE), options=options if hours is None else replace(options, hours=hours))
    now = json.loads(json.dumps(spec.resolved(), default=str))
    unlike = _unlike(now, about)
    if unlike:
        versions = f"tuner {about['versions']['tuner']}, commit {about.get('commit')}"
        raise UserError(
            f"{folder.name} cannot go on: its space means something else to this version of tuner, in {', '.join(unlike)}. "
            f"Go on with the version that began it ({versions}), or start a new search."
        )
    since = [entry for entry in now["filled"].keys() - about["filled"].keys() if entry.startswith(_PARAMETERS)]
    if since:
        learnt = ", ".join(f"{entry.removeprefix(_PARAMETERS)} {show(now['filled'][entry])}" for entry in sorted(since))
        logger.warning("When %s began, %s had no %s: it goes on with that default.", folder.name, spec.model, learnt)
    said = about["options"] if hours is None else {**about["options"], "hours": hours}
    spec = replace(spec, earlier=Earlier.of(about.get("earlier")))
    return replace(spec, options=said, notes=tuple(note for note in spec.notes if not note.startswith("--dataset ")))


def _unlike(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """What decides results and means something else than when the run began. A key or parameter that its version did not know has its
    default now."""

    def decides(entry: str) -> bool:
        if entry.startswith(_PARAMETERS):
            return entry in before["filled"]
        name = entry.partition(".")[0]
        return name not in KEYS or (KEYS[name].decides and name in before)

    new = {entry.partition(".")[0] for entry in now["filled"]} - before.keys()
    found = [name for name, key in KEYS.items() if key.decides and name not in new and now[name] != before.get(name)]
    found += [name for name in ("switches",) if now[name] != before.get(name)]
    found += ["seed"] if now.get("seeds") != before.get("seeds") else []
    filled, were = ({entry: value for entry, value in one["filled"].items() if decides(entry)} for one in (now, before))
    for entry in sorted(were.keys() | filled.keys()):
        if entry not in filled:
            found.append(f"{entry} (there is none any more)")
        elif entry not in were:
            found.append(f"{entry} (there was none)")
        elif filled[entry] != were[entry]:
            found.append(f"{entry} (by default {show(were[entry])} then, {show(filled[entry])} now)")
    return found


def check_beside(folder: Path, beside: Mapping[str, Any]) -> None:
    """Checks a run's space with other values than its own for what it does not search.

    Raises:
        UserError: data, metric or model do not go with them.
    """
    about = _about(folder)
    options = _options(about, folder, int(about["trials"]), whereabouts(about, folder, None))
    kept = [text for text in options.set if text.partition("=")[0].strip() not in beside]
    read_space(str(folder / SPACE), options=replace(options, set=[*kept, *(f"{name}={show(value)}" for name, value in beside.items())]))


def _options(about: Mapping[str, Any], folder: Path, trials: int, dataset: str, data_root: Path | None = None) -> Options:
    """What the command line said when the run began; with another `data_root`, if it is given."""
    root = data_root or about.get("data_root")
    given = {
        key: value for key, value in about["options"].items() if key in {"epochs", "seed", "set", "hours", "confirm", "report", "mlflow"}
    }
    data = about["dataset"]
    columns = {key: data[key] for key in data if key not in ("name", "limit", "scale")}
    where = {
        "dataset": dataset,
        "limit": data["limit"],
        "scale": data["scale"],
        **columns,
        "data_root": Path(root) if root else None,
        "models": _kept(about, folder),
    }
    return Options(**given, **where, name=about["space"], trials=trials)


def _kept(about: Mapping[str, Any], folder: Path) -> list[Source]:
    """The source of the run's model, where it is one of the user's own.

    Raises:
        UserError: it is not what the run began with.
    """
    told = about.get("model_source")
    if not told:
        return []
    if told.get("package"):
        found = next((one for one in installed() if one.name == about["model"]), None)
        if found is not None and found.code != told["code"]:
            logger.warning("%s has changed since %s began: its trials may not be comparable.", found.shown, folder.name)
        return []
    kept = kept_source(folder, str(about["model"]), str(told["code"]))
    if kept is None:
        raise UserError(f"{folder.name} cannot go on: {folder / MODELS / about['model']}.py, the model that it kept, is gone.")
    return [kept]


def check_brought(folder: Path, models: Sequence[str | Path | type | Source]) -> None:
    """Says where a file of the run's model is not what the run began with any more: the run has a copy, and goes on with that.

    Raises:
        UserError: the file was brought again.
    """
    about = _about(folder)
    name, told = str(about["model"]), about.get("model_source") or {}
    brought = read_own(models).get(name) if models else None
    if models and brought is None:
        raise UserError(f"--models brings no model '{name}', which {folder.name} searches. Leave it out.")
    if brought is not None and brought.code != told.get("code"):
        raise UserError(
            f"{brought.shown} has changed since {folder.name} began. Leave --models out to go on with the model that the run kept, "
            f"{folder / MODELS / name}.py, or start a new search with the changed one."
        )
    before = Path(str(told.get("from", "")))
    if brought is None and told.get("files") and before.is_file() and read_source(before).code != told["code"]:
        logger.warning("%s has changed since %s began, which goes on with the model as it was: %s.", before, folder.name, folder / MODELS)


def _about(folder: Path) -> About:
    about = read_run(folder).spec_json
    if "confirms" in about:
        raise UserError(f"{folder} holds the confirmation of {about['confirms']}. To go on with that: tuner confirm {about['confirms']}")
    missing = [key for key in ("options", "space", "dataset", "dataset_at", "trials", "filled", "versions") if key not in about]
    if missing or not (folder / SPACE).is_file():
        raise UserError(
            f"{folder.name} cannot go on: its spec.json has no '{missing[0]}'. It was begun by an older version of tuner, or was changed."
            if missing
            else f"{folder.name} cannot go on: its space.yaml is gone."
        )
    return about


def _trials(given: str | None, before: int) -> int:
    if given is None:
        return before
    number = given.removeprefix("+")
    if not re.fullmatch(r"0*[1-9][0-9]{0,17}", number):
        raise UserError(f"--trials must be a number of trials in all, such as 80, or +50 for 50 more, but got '{given}'.")
    return int(number) + (before if given.startswith("+") else 0)
