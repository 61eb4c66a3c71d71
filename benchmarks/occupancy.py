"""How full a search keeps its packs, and what packs gain it: `python benchmarks/occupancy.py [--trials 64] [--hidden 32] [--json FILE]`.

Searches of `aae_unsup` on digits, all trials of one shape, random sampling, in packs of 8 and one process per trial in turn; once
with every trial trained to its end, once with ASHA. Occupancy is epochs that trials were trained for over epochs that slots were
run for. Targets: 0.9 to the end, 0.75 with ASHA. `wall` is from the first reported epoch to the last trial's end, start-up left out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, here and in Ray's workers
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["PYTHONPATH"] = os.pathsep.join(path for path in (str(ROOT), os.environ.get("PYTHONPATH")) if path)

from overhead import Clock  # noqa: E402

TARGETS = {"to the end": 0.9, "with ASHA": 0.75}
ONE_SHAPE = ("n_clusters=10", "latent_dim=10", "use_cyclic=true", "use_mode=true")


def main() -> None:
    from tuner.runs.paths import PACKS
    from tuner.service.driver import SearchOptions, search
    from tuner.space.reader import Options, read_space

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--hidden", type=int, default=100)
    parser.add_argument("--cpu", type=float, default=1.5, help="cores of a host; 1.5 of two: one host with one thread")
    parser.add_argument("--packs", nargs="+", default=["8", "off"], help="a width, off or auto, for each search")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    given = parser.parse_args()
    options = Options(trials=given.trials, epochs=given.epochs, confirm=False, set=(*ONE_SHAPE, f"hidden={given.hidden}"))
    spec = replace(read_space("aae_unsup", options=options), method="random")
    figures = []
    with tempfile.TemporaryDirectory(prefix="occupancy-") as scratch:
        for stopping in TARGETS:
            for pack in given.packs:
                width = {"off": 1, "auto": "auto"}.get(pack) or int(pack)
                early = spec.early_terminate if stopping == "with ASHA" else None
                one = replace(spec, early_terminate=early, resources=replace(spec.resources, cpu=given.cpu, pack=width))
                clock = Clock()
                done = search(one, SearchOptions(out=Path(scratch), listeners=(clock,)))
                epochs = done.results.epochs
                seconds, packs = clock.end - clock.first, done.folder / PACKS
                found = json.loads(packs.read_text()) if packs.exists() else {}
                figures.append({"stopping": stopping, "pack": pack, "epochs": epochs, "wall_s": round(seconds, 1), **found})
                full = "no packs"
                if found:
                    full = f"occupancy {found['occupancy']:.3f} (target {TARGETS[stopping]}), {found['mean_lanes']:.2f} lanes in a pack"
                print(f"{stopping}, pack {pack}: {epochs} epochs in {seconds:.1f} s, {epochs / seconds:.1f} per s; {full}", flush=True)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
