"""Which figures there are, in families that look at the same columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from capo_annotation import correlation, kappa, reliability
from capo_annotation.bootstrap import Derived, Family, Key, Statistic
from capo_annotation.grouping import Places, Rows, divided
from capo_annotation.ratings import Floats, Ratings
from capo_annotation.report import Figures, Part
from capo_annotation.scale import Scale

PAIRED = 20  # raters beyond which they are not compared two by two
JOINT = 20_000  # distinct rows of all raters together beyond which the ceiling has no interval
_NAMES = ("the judge's score", "the humans' mean")
_OTHERS = "the mean of the other raters"


def half_up(values: Floats) -> Floats:
    """Rounded to whole numbers, halves upwards (numpy rounds them to even)."""
    rounded: Floats = np.floor(values + 0.5)
    return rounded


class Plan:
    """Families of figures by keys such as ("labels", "median", "qwk").

    Args:
        ratings: The table.
        scale: The declared scale: kappa's labels.
        headline: Only the judge against the humans, and the raters among themselves.
        design: Weights of the items; what rests on equal ones (a test's p, labels in use) is left out.
    """

    def __init__(
        self, ratings: Ratings, scale: Scale, *, headline: bool = False, design: Floats | None = None
    ) -> None:
        self.ratings, self.scale, self.design = ratings, scale, design
        self.labels = [float(label) for label in scale.labels]
        self.pairs = list(combinations(ratings.raters, 2)) if len(ratings.raters) <= PAIRED else []
        self.human = self._of_items(lambda scores: np.nanmean(scores, axis=1))
        self.median = self._of_items(lambda scores: np.nanmedian(scores, axis=1))
        self.parts: dict[str, dict[str, Places]] = {"level": {}, "role": {}, "domain": {}}
        self.families = list(self._headline() if headline else self._families())

    def kappas(self, a: str, b: str) -> dict[str, dict[str, float | None]]:
        """All kappas of two raters, without intervals."""
        x, y = self._column(a), self._column(b)
        return {
            weighting: {
                "declared": kappa.kappa(x, y, self.labels, weighting),
                "observed": kappa.kappa(x, y, None, weighting),
            }
            for weighting in kappa.WEIGHTINGS
        }

    def part(self, kind: str, name: str, figures: Figures) -> Part:
        """What is told of one level, role or domain."""
        at, judge = self.parts[kind][name], self.ratings.judge
        own = 0.0 if judge is None else float(judge[at].mean())
        return Part(name, len(at), float(self.human[at].mean()), own, figures)

    def _headline(self) -> Iterator[Family]:
        families = list(self._among())
        if self.ratings.judge is not None:
            families += self._against_humans(self.ratings.judge)
        for family in families:
            statistics = family.statistics
            if self.design is not None:
                statistics = {
                    key: replace(one, value=None, p=None)
                    for key, one in statistics.items()
                    if key[-1] != "qwk_observed"
                }
            yield Family(family.rows, statistics)

    def _families(self) -> Iterator[Family]:
        yield from self._among()
        yield from self._two_by_two()
        yield from self._ceiling()
        if self.ratings.judge is not None:
            yield from self._against_humans(self.ratings.judge)
            yield from self._by_part(self.ratings.judge)

    def _of_items(self, take: Callable[[Floats], Floats]) -> Floats:
        """One value an item over the ratings that it has."""
        found = np.full(len(self.ratings.items), np.nan)
        rated = np.isfinite(self.ratings.scores).any(axis=1)
        found[rated] = take(self.ratings.scores[rated])
        return found

    def _column(self, rater: str) -> Floats:
        values: Floats = self.ratings.scores[:, self.ratings.raters.index(rater)]
        return values

    def _labelled(self, a: Floats, b: Floats, rows: Rows) -> dict[str, Statistic]:
        return kappa.statistics(half_up(a), half_up(b), self.labels, rows)

    def _against_humans(self, judge: Floats) -> Iterator[Family]:
        rows = Rows.of(judge, self.human, design=self.design)
        yield Family(rows, _under(["mean"], correlation.statistics(judge, self.human, rows, names=_NAMES)))
        columns = [("labels", "rounded_mean", self.human), ("labels", "median", self.median)]
        for *head, theirs in [
            *columns,
            *(("rater", name, self._column(name)) for name in self.ratings.raters),
        ]:
            rows = Rows.of(judge, theirs, design=self.design)
            yield Family(rows, _under(head, self._labelled(judge, theirs, rows)))

    def _among(self) -> Iterator[Family]:
        scores = self.ratings.scores
        rows = Rows.of(
            np.sort(scores, axis=1), design=self.design
        )  # which rater gave which rating means nothing to alpha
        alpha = reliability.alpha_statistics(scores, rows)
        yield Family(rows, _under(["among"], {f"alpha_{metric}": one for metric, one in alpha.items()}))
        rows = Rows.of(scores, design=self.design)
        yield Family(rows, _under(["among"], reliability.icc_statistics(scores, rows)))

    def _two_by_two(self) -> Iterator[Family]:
        for a, b in self.pairs:
            x, y = self._column(a), self._column(b)
            rows = Rows.of(x, y)
            yield Family(rows, {("pair", a, b): self._labelled(x, y, rows)["qwk"]})

    def _ceiling(self) -> Iterator[Family]:
        """Each rater against the mean of the others; the judge against that mean on the same items."""
        scores, raters, judge = self.ratings.scores, self.ratings.raters, self.ratings.judge
        if len(raters) < 2:
            return
        rows = Rows.of(scores) if judge is None else Rows.of(scores, judge)
        total, count = np.nansum(scores, axis=1), np.isfinite(scores).sum(axis=1)
        found: dict[Key, Statistic] = {}
        for at, name in enumerate(raters):
            own = scores[:, at]
            rated = np.isfinite(own) & (count > 1)
            seen = [("rater", own, name)]
            if judge is not None:
                rated &= np.isfinite(judge)
                seen.append(("judge", judge, _NAMES[0]))
            others = np.full(len(own), np.nan)
            others[rated] = (total[rated] - own[rated]) / (count[rated] - 1)
            for who, values, called in seen:
                rho = correlation.statistics(values, others, rows, names=(called, _OTHERS))["spearman"]
                qwk = self._labelled(values, others, rows)["qwk"]
                found |= {("ceiling", name, f"{who}_rho"): rho, ("ceiling", name, f"{who}_qwk"): qwk}
        if len(rows) > JOINT:
            why = f"no interval: more than {JOINT:,} different rows of ratings"
            found = {key: replace(one, no_interval=why) for key, one in found.items()}
        yield Family(rows, found, self._means(judge is not None))

    def _means(self, judged: bool) -> dict[Key, Derived]:
        """Over the raters, and how far the judge is above them."""
        found: dict[Key, Derived] = {}
        for figure in ("rho", "qwk"):
            rater, judge = (
                [("ceiling", name, f"{who}_{figure}") for name in self.ratings.raters]
                for who in ("rater", "judge")
            )
            found["mean ceiling", f"rater_{figure}"] = _mean_of(rater)
            if judged:
                found["mean ceiling", f"judge_{figure}"] = _mean_of(judge)
                found["mean ceiling", f"difference_{figure}"] = _difference_of(judge, rater)
                for one, other in zip(rater, judge, strict=True):
                    found["ceiling", one[1], f"difference_{figure}"] = _difference_of([other], [one])
        return found

    def _by_part(self, judge: Floats) -> Iterator[Family]:
        both = np.isfinite(judge) & np.isfinite(self.human)
        levels = ["" if np.isnan(score) else str(int(score)) for score in half_up(judge)]
        place = {str(label): at for at, label in enumerate(self.scale.labels)}
        kinds: dict[str, Sequence[str]] = {"role": self.ratings.roles, "domain": self.ratings.domains}
        for kind, names in {"level": levels, **kinds}.items():
            order = sorted({name for name in names if name}, key=lambda name: (place.get(name, 0), name))
            every = np.array(names, dtype=object)
            for name in order:
                at = np.flatnonzero(both & (every == name))
                if len(at):
                    self.parts[kind][name] = at
                    yield self._part(kind, name, at, judge)

    def _part(self, kind: str, name: str, at: Places, judge: Floats) -> Family:
        human, own = np.full(len(judge), np.nan), np.full(len(judge), np.nan)
        human[at], own[at] = self.human[at], judge[at]
        rows = Rows.of(own, human)  # items of other parts are one row: how many of ours there are varies
        found: dict[str, Statistic] = {"bias": _bias(own, human, rows)}
        if kind != "level":
            found["rho"] = correlation.statistics(own, human, rows, names=_NAMES)["spearman"]
            found["qwk"] = self._labelled(own, human, rows)["qwk"]
        return Family(rows, _under([kind, name], found))


def _under(head: Sequence[str], found: Mapping[str, Statistic]) -> dict[Key, Statistic]:
    return {(*head, name): one for name, one in found.items()}


def _bias(judge: Floats, human: Floats, rows: Rows) -> Statistic:
    among = rows.both(judge, human)
    difference = (judge - human)[rows.first[among]]

    def bias(weights: Floats) -> Floats:
        own = weights[among]
        return divided(difference @ own, own.sum(axis=0))

    return Statistic(bias, int(rows.counts[among].sum()))


def _mean_of(keys: Sequence[Key]) -> Derived:
    return lambda figures: np.mean([figures[key] for key in keys], axis=0)


def _difference_of(first: Sequence[Key], second: Sequence[Key]) -> Derived:
    one, other = _mean_of(first), _mean_of(second)
    return lambda figures: one(figures) - other(figures)
