"""`tuner.simulate`: a search that is replayed on recorded trials."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tuner.own_given import Models
from tuner.runs.new_run import check_place
from tuner.stores.lookup import RUNS

from .arguments import Place, Settings, Space, of_space, options, path_or_none, read_spec
from .earlier import Earlier, earlier
from .run import Run


def simulate(
    space: Space,
    *,
    table: Place,
    gpus: int = 1,
    dataset: str | None = None,
    scale: str | None = None,
    limit: int | None = None,
    trials: int | None = None,
    epochs: int | None = None,
    hours: float | None = None,
    from_: Earlier = (),
    name: str | None = None,
    seed: int | None = None,
    set: Settings = (),  # noqa: A002 - the flag's name
    data_root: Place | None = None,
    out: Place = RUNS,
    models: Models = (),
) -> Run:  # its length is that of its arguments, which are the command's
    """Replays a search on recorded trials under a virtual clock: what `tuner simulate` does. Nothing is trained.

    `table`: the folder of a run, or a file that one was recorded into. `gpus`: how many trials are trained at once, from 1 on. The rest is
    as for `tuner.search`. The run's `seconds` are those of the virtual clock.

    Raises:
        UserError: it cannot start. Nothing has been written then.
    """
    from tuner.service.simulate import SimulateOptions
    from tuner.service.simulate import simulate as drive

    folder, root = Path(os.fspath(out)), path_or_none(data_root)
    check_place(name, folder)
    sizes = {"limit": limit, "trials": trials, "epochs": epochs, "hours": hours, "no_confirm": True}
    given = options(dataset=dataset, scale=scale, name=name, seed=seed, data_root=root, models=of_space(space, models), set=set, **sizes)
    spec = read_spec(space, given)
    known: dict[str, Any] = {"name": name, "out": folder, "data_root": root, "earlier": earlier(from_)}
    outcome = drive(spec, SimulateOptions(table=Path(os.fspath(table)), lanes=gpus, **known))
    return Run(outcome.folder, reason=outcome.reason)
