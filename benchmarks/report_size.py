"""How long does the page about a large search take to make, and how large is it?

    python benchmarks/report_size.py [--trials 1000 --epochs 100]

Writes a journal of that size, as a search would, and makes its report. Wanted for 1,000 trials of up to 100 epochs: under a minute, and
under 10 MB. And `tuner watch` is to answer within a second.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from kit.journals import write_run

from tuner.report.watch import Server
from tuner.report.write import write_report
from tuner.text import size


def slowest_answer(run: Path) -> float:
    """The longest that a browser waits for `tuner watch` while a page is made behind it, and for that page, in seconds."""
    longest = 0.0
    with Server(run, port=0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made = False
        while not made:
            start = time.perf_counter()
            with urllib.request.urlopen(server.url) as answer:
                made = b"trials drawn" in answer.read()
            longest = max(longest, time.perf_counter() - start)
            time.sleep(0.05)
        server.shutdown()
    return longest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = write_run(Path(folder) / "large", given.trials, given.epochs)
        lines = sum(1 for _ in (run / "results.jsonl").open())
        start = time.perf_counter()
        written = write_report([run])
        seconds = time.perf_counter() - start
        slowest = slowest_answer(run)
        print(f"{given.trials:,} trials, {lines:,} lines: {seconds:.1f} s, {size(written.page.stat().st_size)}")
        print(f"`tuner watch` answers within {slowest:.2f} s")


if __name__ == "__main__":
    main()
