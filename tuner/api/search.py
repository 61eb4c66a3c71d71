"""`tuner.search`: a whole search from a script, a notebook or a thread."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Unpack

from tuner.errors import UserError
from tuner.own_given import Models
from tuner.runs.events import Listener
from tuner.runs.new_run import check_place
from tuner.space.reader import Options
from tuner.space.spec import Spec
from tuner.stores.lookup import RUNS, folder_and_uri
from tuner.trackers.modes import wandb_mode

from .arguments import OfFile, Place, Settings, Space, of_space, options, path_or_none, read_spec
from .display import heard_by, print_said, shown
from .earlier import Earlier, earlier
from .one_at_a_time import one_search
from .run import Run
from .samples import dataset_name, named


def search(
    space: Space,
    *,
    data: Any = None,
    labels: Any = None,
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
    address: str | None = None,
    wandb: str | None = None,
    mlflow: bool | None = None,
    data_root: Place | None = None,
    out: Place = RUNS,
    no_confirm: bool = False,
    no_report: bool | None = None,
    models: Models = (),
    listeners: Sequence[Listener] = (),
    display: bool = True,
    **of_file: Unpack[OfFile],
) -> Run:  # its length is that of its arguments, which are the command's
    """Searches hyper-parameters, and returns at the end of the search: what `tuner search` does.

    `space`: a file's path, the name of a space that comes with tuner (every model has one of its name), or a dict with a space's keys.
    `data`: samples (N, D) as a numpy array, a pandas or pyarrow table, a torch tensor or a sparse matrix, which are written once below
    `out`, where trials and a resumed search read them; or a file's path, or a data set's name, as `dataset`. `labels`: (N,) of data in
    memory, or the column of `data` that holds them. `of_file`: label, drop, id, header, samples, size and colours, of a file of data.
    `no_report`: None is what TUNER_NO_REPORT says.
    `from_`: runs of the same space, by name, folder or as objects, of which the sampler is told.
    `models`: files or folders with models of your own, or subclasses of `Model` that stand in a file; a dict may hold such a class under
    `model`. `listeners`: hear of every event (`tuner/runs/events.py`). `display`: show how it goes. Everything else is the flag of its
    name.

    In the main thread Ctrl-C, or a notebook's interrupt, ends the search with everything finished kept; the run's `status` is then
    "stopped". A Ray that runs in this process already is used, and left running.

    Raises:
        UserError: it cannot start, with everything that is wrong in one message. Nothing has been written then but data.
    """
    folder, uri = folder_and_uri(os.fspath(out))
    check_place(name, folder)
    mode, root = wandb_mode(wandb), path_or_none(data_root)
    chosen = dataset_name(data, labels, dataset, folder)
    sizes = {"limit": limit, "trials": trials, "epochs": epochs, "hours": hours}
    beside = {"no_confirm": no_confirm, "no_report": no_report, "mlflow": mlflow}
    brought = of_space(space, models)
    given = options(
        dataset=chosen, scale=scale, name=name, seed=seed, data_root=root, models=brought, set=set, **sizes, **beside, **of_file
    )
    spec = _read(space, given, chosen if data is not None and named(data) is None else None)
    for note in spec.notes if display else ():
        print(f"Note: {note}")
    from tuner.service.driver import SearchOptions
    from tuner.service.driver import search as drive

    heard, confirmation = heard_by(listeners, mode, display=display), shown(display=display)
    with one_search():
        outcome = drive(
            spec,
            SearchOptions(
                name=name,
                out=folder,
                uri=uri,
                address=address,
                data_root=root,
                wandb=mode,
                listeners=heard,
                confirm_listeners=confirmation,
                report=True,
                earlier=earlier(from_),
            ),
        )
    print_said(outcome.page, display=display)
    return Run(outcome.folder, reason=outcome.reason)


def _read(space: Space, given: Options, written: str | None) -> Spec:
    """`written`: the file of what was in memory, which a message calls `data`."""
    try:
        return read_spec(space, given)
    except UserError as error:
        raise (UserError(str(error).replace(written, "data")) if written else error) from None
