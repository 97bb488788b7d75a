"""The stages of a build in their order; the only room that knows them all.

    source -> histories -> instances -> judge -> journal -> triplets -> dataset

Instances are not stored: drawing them is a pure function of the histories, cheap beside reading them back.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from capo_data import __version__, asking, histories, instances, plan, prompting, sources, writing
from capo_data.candidates import CandidateSettings, Pool
from capo_data.errors import PartialError, SourceError, UsageError
from capo_data.instances import Catalogue
from capo_data.judges import choose
from capo_data.judges.cost import PriceTable, load_prices
from capo_data.judges.journal import Journal
from capo_data.judges.lexical import LexicalJudge
from capo_data.recipe import Recipe
from capo_data.records import Dropped, Instance, Judge, Reporter, SourceRequest, Split, StagedSource
from capo_data.run import Run, digest, opened, recover
from capo_data.settings import Settings, salt

# Rises when the same source gives other histories, so that an older version's stage is built again.
HISTORIES_VERSION = 1
# How much of the data the lexical judge sets its levels by.
LEXICAL_ITEMS, LEXICAL_INSTANCES = 100_000, 1_000


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What a build did.

    Attributes:
        run: The run's folder.
        dataset: The released folder; None after a dry run.
        plan: What was planned; None where there was nothing left to do.
        manifest: The run's manifest; empty after a dry run.
    """

    run: Path
    dataset: Path | None
    plan: plan.Plan | None
    manifest: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        planned = None if self.plan is None else self.plan.as_dict()
        dataset = None if self.dataset is None else str(self.dataset)
        return {"run": str(self.run), "dataset": dataset, "plan": planned, "manifest": dict(self.manifest)}


@dataclass(frozen=True, slots=True)
class Data:
    """Histories opened for drawing."""

    staged: StagedSource
    histories: histories.Histories
    pool: Pool
    catalogue: Catalogue


@dataclass(frozen=True)
class Build:
    """One build: what, where, from what."""

    recipe: Recipe
    where: Settings
    request: SourceRequest
    report: Reporter
    confirm: plan.Confirm | None

    @cached_property
    def prompts(self) -> prompting.Prompts:
        """The recipe's templates."""
        return prompting.load(self.recipe)

    @cached_property
    def salt(self) -> bytes:
        """The secret of the pseudonyms."""
        return salt()

    def go(self) -> BuildResult:
        """Plans, asks, builds."""
        prices = load_prices(self.where.prices)
        self.prompts  # noqa: B018 - a template that cannot be used is said before any work
        source = sources.plan(self.request)
        agreed = self.where.yes
        if source.download_bytes != 0:
            rough = plan.before_data(self.recipe, self.where, prices, source)
            if self.where.dry_run:
                return BuildResult(self.where.out, None, rough, {})
            self._say(rough)
            choose.check_available(self.recipe, self.where, self.request.path)
            plan.agree(rough, self.where, self.confirm)
            agreed = True
        elif not self.where.dry_run:
            choose.check_available(self.recipe, self.where, self.request.path)
        if self.where.dry_run:
            return self._dry_run(prices, source)
        with opened(self.where.out, self.where.resume, self._identity()) as run:
            recover(run.dataset)
            manifest = run.manifest()
            if manifest.get("status") == "complete" and run.dataset.exists():
                self.report.note(f"{self.where.out} is complete: nothing to do")
                return BuildResult(self.where.out, run.dataset, None, manifest)
            data = self._data(run)
            planned = None
            if not self._free:
                planned = self._plan(data, prices, source)
                self._say(planned)
                if not agreed:
                    plan.agree(planned, self.where, self.confirm)
            return self._judge_and_write(run, data, planned, prices)

    @property
    def _free(self) -> bool:
        return {self.recipe.judges.capo, self.recipe.judges.sft} == {"lexical"}

    def _say(self, planned: plan.Plan) -> None:
        for line in planned.lines():
            self.report.note(line)

    def _identity(self) -> dict[str, Any]:
        """What a resumed run must share with the one that was begun."""
        return {
            "recipe": self.recipe.as_dict(),
            "prompts": {"judge": self.prompts.judge.version, "recommender": self.prompts.recommender.version},
            "salt": hashlib.sha256(b"salt:" + self.salt).hexdigest()[:16],
        }

    def _dry_run(self, prices: PriceTable, source: sources.SourcePlan) -> BuildResult:
        """The plan on the data itself; nothing stays but what the cache may keep."""
        self.where.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.where.cache, prefix="dry-run-") as folder:
            staged = sources.stage(self.request, report=self.report)
            built = self._histories(staged, Path(folder))
            pool, catalogue = instances.open_pool(built)
            planned = self._plan(Data(staged, built, pool, catalogue), prices, source)
        return BuildResult(self.where.out, None, planned, {})

    def _plan(self, data: Data, prices: PriceTable, source: sources.SourcePlan) -> plan.Plan:
        self.report.start("planning", data.histories.table1.users)
        planned = plan.of_data(
            self.recipe,
            self.where,
            prices,
            source,
            data.histories.table1.users,
            self._judged(data),
            self.prompts,
            self.report,
        )
        self.report.finish()
        return planned

    def _judged(self, data: Data, reasons: Counter[str] | None = None) -> Iterator[Instance]:
        """The train instances; `reasons` counts why others are none."""
        for found in self.instances(data, frozenset(("train",))):
            if isinstance(found, Instance):
                yield found
            elif reasons is not None:
                reasons[found.reason] += 1

    def _histories(self, staged: StagedSource, folder: Path) -> histories.Histories:
        part = self.recipe.histories
        return histories.build(
            staged,
            folder,
            histories.HistorySettings(
                min_interactions=part.min_interactions,
                k_core=part.k_core,
                users=self.recipe.users,
                seed=self.recipe.seed,
                field_characters=self.recipe.prompt.field_characters,
                pool=self.recipe.candidates.pool,
            ),
            salt=self.salt,
            memory_limit=self.where.memory_limit,
            buckets=self.where.buckets,
            report=self.report,
        )

    def _data(self, run: Run) -> Data:
        """Stages the source and builds the histories, or takes those of the run."""
        staged = sources.stage(self.request, report=self.report)
        known = run.manifest().get("source", {}).get("fingerprint", staged.fingerprint)
        if known != staged.fingerprint:
            raise UsageError(
                "this run was begun with other source files",
                where=str(self.where.out),
                why=f"their content hash was {known}, now it is {staged.fingerprint}",
                next_command="build elsewhere with --out, or start afresh with --resume never",
            )

        def build(folder: Path) -> dict[str, Any]:
            built = self._histories(staged, folder)
            return {"buckets": [path.name for path in built.buckets], "table1": asdict(built.table1)}

        inputs = {"source": staged.fingerprint, "version": HISTORIES_VERSION, **self._identity()}
        home, facts = run.stage("histories", inputs, build)
        built = histories.Histories(
            tuple(home / name for name in facts["buckets"]),
            home / "items.arrow",
            histories.Table1(**facts["table1"]),
        )
        path = None if self.request.path is None else str(Path(self.request.path).absolute())
        run.update(
            {
                "tool": {"name": "capo-data", "version": __version__},
                "source": {"fingerprint": staged.fingerprint, "path": path, "dirt": dict(staged.dirt)},
                "table1": built.table1.as_dict(),
                "status": "judging",
            }
        )
        pool, catalogue = instances.open_pool(built)
        return Data(staged, built, pool, catalogue)

    def instances(
        self, data: Data, splits: frozenset[Split] = frozenset(("train", "validation", "test"))
    ) -> Iterator[Instance | Dropped]:
        """Every instance of these splits, in the order of pseudonyms."""
        part = self.recipe.candidates
        drawing = CandidateSettings(
            size=part.size,
            rejected=part.rejected,
            negatives=part.negatives,
            seed=self.recipe.seed,
            instances_per_user=self.recipe.histories.instances_per_user,
        )
        for bucket in data.histories.buckets:
            yield from instances.of_bucket(
                bucket,
                data.pool,
                data.catalogue,
                drawing,
                scale=data.staged.scale,
                domain=self.recipe.domain,
                salt=self.salt,
                field_characters=self.recipe.prompt.field_characters,
                splits=splits,
            )

    def _judge_and_write(
        self, run: Run, data: Data, planned: plan.Plan | None, prices: PriceTable
    ) -> BuildResult:
        """Asks for what the journal lacks, then writes the dataset from the journal alone."""
        judges = asking.judges_of(self.prompts, self.where, self._lexical(data))
        with Journal(run.journal) as journal:
            users, each = data.histories.table1.users, self.recipe.histories.instances_per_user
            self.report.start("judging", users * each)
            asked = asyncio.run(
                asking.ask_all(
                    self._judged(data),
                    self.prompts,
                    self.where,
                    judges,
                    journal,
                    prices,
                    self.report,
                )
            )
            self.report.finish()
            run.update({"judging": asked, "usage": asdict(journal.usage()), "status": "writing"})
            tally, rows = writing.write(
                run,
                self.instances(data),
                asking.replay(self.prompts, judges, journal),
                self.prompts,
                self._facts(run, judges),
                data.staged.dropped,
                self.report,
                users * (each + 2),
            )
        status = "incomplete" if tally.failed else "complete"
        manifest = run.update({"status": status, "rows": rows, **tally.facts()})
        if tally.failed:
            raise PartialError(
                f"{tally.failed} requests got no answer; the dataset was written without their rows",
                where=str(run.dataset),
                why="; ".join(
                    f"{kind}: {n}" for judge in asked.values() for kind, n in judge["failed"].items()
                ),
                next_command="run the same command again: only those are asked",
            )
        return BuildResult(run.folder, run.dataset, planned, manifest)

    def _lexical(self, data: Data) -> LexicalJudge | None:
        """The built-in judge, its levels set by pairs of a history and an item drawn at random."""
        if "lexical" not in (self.recipe.judges.capo, self.recipe.judges.sft):
            return None
        rows = data.pool.drawable
        spread = rows[:: max(1, len(rows) // LEXICAL_ITEMS)].tolist()
        first = self.recipe.candidates.rejected
        reasons: Counter[str] = Counter()
        sample = [
            (instance.history, instance.candidates[index])
            for instance in islice(self._judged(data, reasons), LEXICAL_INSTANCES)
            for index in instance.rejected[first:][:2] or instance.rejected[:2]
        ]
        if not sample:
            raise SourceError(
                "no train instance is left to judge",
                where=str(self.request.path or self.recipe.domain),
                why="; ".join(f"{reason}: {count:,}" for reason, count in reasons.items()),
                next_command="give the items' titles (--items FILE, --column title=THEIRS) or more data",
            )
        return LexicalJudge.fit([data.catalogue.item(row) for row in spread], sample)

    def _facts(self, run: Run, judges: Mapping[str, Judge]) -> dict[str, Any]:
        """What the card tells beside the counts; no times, no paths."""
        manifest, roles, form = run.manifest(), self.recipe.judges, self.recipe.prompt
        templates = {"judge": self.prompts.judge, "recommender": self.prompts.recommender}
        recipe = self.recipe.as_dict()
        # A template of one's own stands in the recipe by its path; what it says is told by its version.
        recipe["prompt"].update({role: template.name for role, template in templates.items()})
        versions = {role: template.version for role, template in templates.items()}
        return {
            "tool": manifest["tool"],
            "domain": self.recipe.domain,
            "recipe": recipe,
            "recipe_hash": digest({"recipe": recipe, "prompts": versions}),
            "table1": manifest["table1"],
            "prompts": {
                role: {"name": template.name, "version": template.version, "text": template.text}
                for role, template in templates.items()
            },
            "judges": {
                role: {"name": judges[name].name, "identity": dict(judges[name].identity)}
                for role, name in (("capo", roles.capo), ("sft", roles.sft))
            },
            "dirt": manifest["source"]["dirt"],
            "format": {
                "think_tag": form.think_tag,
                "item_tag": form.item_tag,
                "candidates": self.recipe.candidates.size,
                "rejected": self.recipe.candidates.rejected,
                "tie_policy": self.recipe.ties.policy,
            },
        }
