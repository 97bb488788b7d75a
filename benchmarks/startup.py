"""How long `capo-data --help` takes, beside an empty Python and the same with everything imported.

    python benchmarks/startup.py

Medians of wall seconds; the aim is 0.3 s for --help.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from table import conditions, save, table

CONTESTANTS = {
    "python -c pass": ["-c", "pass"],
    "capo-data --help": ["-m", "capo_data", "--help"],
    "capo-data build --help": ["-m", "capo_data", "build", "--help"],
    "import of what a build needs": ["-c", "import capo_data.stages, duckdb, pyarrow, numpy, openai"],
}


def seconds(arguments: list[str], rounds: int) -> float:
    """Median wall seconds of a fresh process."""
    taken = []
    for _ in range(rounds):
        before = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - before)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/startup.md")
    options = parser.parse_args()
    rows = [[name, f"{seconds(arguments, options.rounds):.3f}"] for name, arguments in CONTESTANTS.items()]
    text = table(["process", "wall s"], rows) + f"\nAim: --help within 0.3 s. {conditions('typer')}"
    print(text)
    if options.save:
        save("startup", "Start-up", text)


if __name__ == "__main__":
    main()
