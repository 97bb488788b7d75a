"""Agreement at size: a million ratings read and scored, and 2,000 bootstrap draws over 400 items.

    python benchmarks/agreement.py --ratings 1000000

Each row is a fresh process, from the file to the report. Beside them stands the usual way to the same
interval: one figure, resampled with scikit-learn and scipy draw by draw. Aims: a million ratings within
30 s, the 2,000 draws over 400 items and 7 raters, all figures, within 5 s.
"""

from __future__ import annotations

import argparse
import csv
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from table import conditions, save, table

RATERS = 7

OURS = """
import sys
from capo_data.agreeing import agree
report = agree(sys.argv[1], draws=int(sys.argv[2]))
assert report.ratings == int(sys.argv[3]), report.ratings
"""

USUAL = """
import sys
import numpy as np, pandas as pd
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score
frame = pd.read_csv(sys.argv[1])
wide = frame.pivot(index="item", columns="rater", values="score")
mean, judge = wide.mean(axis=1).to_numpy(), frame.groupby("item")["judge"].first().to_numpy()
rounded, labels, found = np.floor(mean + 0.5), range(1, 8), []
generator = np.random.default_rng(0)
for _ in range(int(sys.argv[2])):
    at = generator.integers(len(judge), size=len(judge))
    kappa = cohen_kappa_score(judge[at], rounded[at], weights="quadratic", labels=labels)
    found.append((spearmanr(judge[at], mean[at]).statistic, kappa))
assert len(wide) * len(wide.columns) == int(sys.argv[3])
"""


def write(path: Path, ratings: int) -> int:
    """Long form: items that differ, raters and a judge who see them through noise."""
    generator = np.random.default_rng(0)
    items = -(-ratings // RATERS)
    truth = generator.normal(4, 1.6, items)
    seen = truth[:, None] + generator.normal(0, 1, (items, RATERS + 1))
    scores = np.clip(np.rint(seen), 1, 7).astype(int).tolist()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["item", "rater", "score", "judge", "comment"])
        for item, (judge, *humans) in enumerate(scores):
            for rater, score in enumerate(humans):
                writer.writerow([f"fashion-{item:020x}:chosen", f"rater{rater}", score, judge, ""])
    return items * RATERS


def measured(code: str, path: Path, draws: int, ratings: int, rounds: int) -> tuple[float, float]:
    """Median wall seconds of a fresh process, and the peak memory of all so far in GB."""
    taken = []
    for _ in range(rounds):
        before = time.perf_counter()
        subprocess.run([sys.executable, "-c", code, str(path), str(draws), str(ratings)], check=True)
        taken.append(time.perf_counter() - before)
    return statistics.median(taken), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ratings", type=int, default=1_000_000)
    parser.add_argument("--draws", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/agreement.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small.csv", Path(folder) / "large.csv"
        few, many = write(small, 400 * RATERS), write(large, options.ratings)
        work = [
            ("400 items, every figure", OURS, small, options.draws, few),
            ("400 items, rho and QWK, draw by draw", USUAL, small, options.draws, few),
            (f"{many:,} ratings, every figure, no interval", OURS, large, 0, many),
            (f"{many:,} ratings, every figure", OURS, large, options.draws, many),
        ]
        rows = []
        for name, code, path, draws, ratings in work:  # the largest last: peak memory only rises
            wall, peak = measured(code, path, draws, ratings, options.rounds if ratings == few else 1)
            rows.append([name, f"{draws:,}", f"{wall:.1f}", f"{peak:.2f}"])
            print(rows[-1], file=sys.stderr)
    text = table(["work", "draws", "wall s", "peak GB"], rows)
    text += f"""
{RATERS} raters and a judge, long form; figures: all of `capo-data agree`. Start-up of the process included.
Aims: 400 items within 5 s, a million ratings within 30 s.

{conditions("numpy", "scipy", "scikit-learn")}"""
    print(text)
    if options.save:
        save("agreement", "Agreement", text)


if __name__ == "__main__":
    main()
