"""The stages of a build in their order; the only room that knows them all.

    source -> histories -> instances -> judge -> journal -> triplets -> dataset

Instances are not stored: drawing them is a pure function of the histories, cheap beside reading them back.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import capo_prompts

from capo_data import (
    __version__,
    asking,
    calibration,
    given,
    histories,
    instances,
    plan,
    prompting,
    sources,
    writing,
)
from capo_data.candidates import CandidateSettings, Decision, Pool
from capo_data.desk import Desk
from capo_data.errors import PartialError, UsageError
from capo_data.instances import Catalogue
from capo_data.judges import choose
from capo_data.judges.cost import PriceTable, load_prices
from capo_data.judges.journal import Journal
from capo_data.judges.lexical import LexicalJudge
from capo_data.recipe import Recipe
from capo_data.records import Dropped, Instance, Judge, Reporter, SourceRequest, StagedSource
from capo_data.run import Run, digest, opened, recover
from capo_data.settings import Settings, salt

# Rises when the same source gives other histories, so that an older version's stage is built again.
HISTORIES_VERSION = 1


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
            if self._plans_only:
                return BuildResult(self.where.out, None, rough, {})
            self._say(rough)
            choose.check_available(self.recipe, self.where)
            plan.agree(rough, self.where, self.confirm)
            agreed = True
        elif not self._plans_only:
            choose.check_available(self.recipe, self.where)
        if self._plans_only:
            return self._dry_run(prices, source)
        with opened(self.where.out, self.where.resume, self.identity()) as run:
            recover(run.dataset)
            manifest = run.update({"release": self.recipe.as_dict()["release"]})
            if manifest.get("status") == "complete" and run.dataset.exists():
                self._staged(run)  # refuses other source files
                self.report.note(f"{self.where.out} is complete: nothing to do")
                return BuildResult(self.where.out, run.dataset, None, manifest)
            data = self._data(run)
            planner = None
            if not self._free:
                planner = self._planner(data, prices, source)
                self._agree(planner.plan(), agreed)
            return self._judge_and_write(run, data, planner, prices)

    @property
    def _plans_only(self) -> bool:
        return self.where.dry_run and (self._free or not self.where.pilot)

    @property
    def _free(self) -> bool:
        return {self.recipe.judges.capo, self.recipe.judges.sft} == {"lexical"}

    def _say(self, planned: plan.Plan) -> None:
        for line in planned.lines():
            self.report.note(line)

    def _agree(self, planned: plan.Plan, agreed: bool) -> None:
        self._say(planned)
        if not agreed:
            plan.agree(planned, self.where, self.confirm)

    def identity(self) -> dict[str, Any]:
        """What a resumed run must share with the one that was begun."""
        return {
            "recipe": self._told_recipe(),
            "prompts": {"judge": self.prompts.judge.version, "recommender": self.prompts.recommender.version},
            "salt": hashlib.sha256(b"salt:" + self.salt).hexdigest()[:16],
        }

    def _told_recipe(self) -> dict[str, Any]:
        """The recipe without file names: a template of one's own is told by its version and text."""
        recipe = self.recipe.of_rows()
        shipped = capo_prompts.names()
        for role in ("judge", "recommender"):
            if recipe["prompt"][role] not in shipped:
                recipe["prompt"][role] = "own"
        return recipe

    def _dry_run(self, prices: PriceTable, source: sources.SourcePlan) -> BuildResult:
        """The plan on the data itself; nothing stays but what the cache may keep."""
        self.where.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.where.cache, prefix="dry-run-") as folder:
            staged = sources.stage(self.request, report=self.report)
            built = self._histories(staged, Path(folder))
            pool, catalogue = instances.open_pool(built)
            planned = self._planner(Data(staged, built, pool, catalogue), prices, source).plan()
        return BuildResult(self.where.out, None, planned, {})

    def _planner(self, data: Data, prices: PriceTable, source: sources.SourcePlan) -> plan.Planner:
        """Writes and measures every first request; none is sent."""
        users = data.histories.table1.users
        self.report.start("planning", users)
        work = plan.count(self.judged(data), self.prompts, self.report)
        self.report.finish()
        return plan.Planner(self.recipe, self.where, prices, source, users, work)

    def judged(self, data: Data) -> Iterator[Instance]:
        """The train instances."""
        for found in self.instances(data, lambda decision: decision.split == "train"):
            if isinstance(found, Instance):
                yield found

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

    def _staged(self, run: Run) -> StagedSource:
        """The source's files, which a resumed run must find as they were."""
        staged = sources.stage(self.request, report=self.report)
        known = run.manifest().get("source", {}).get("fingerprint", staged.fingerprint)
        if known != staged.fingerprint:
            raise UsageError(
                "this run was begun with other source files",
                where=str(self.where.out),
                why=f"their content hash was {known}, now it is {staged.fingerprint}",
                next_command="build elsewhere with --out, or start afresh with --resume never",
            )
        path = None if self.request.path is None else str(Path(self.request.path).absolute())
        run.update(
            {
                "source": {
                    "fingerprint": staged.fingerprint,
                    "path": path,
                    "dirt": dict(staged.dirt),
                    "scale": [staged.scale.low, staged.scale.high],
                },
                "given": given.of(self.recipe, self.where),
            }
        )
        return staged

    def _data(self, run: Run) -> Data:
        """Stages the source and builds the histories, or takes those of the run."""
        staged = self._staged(run)
        data = self.data(run, staged, lambda folder: self._histories(staged, folder))
        run.update(
            {
                "tool": {"name": "capo-data", "version": __version__},
                "table1": data.histories.table1.as_dict(),
                "status": "judging",
            }
        )
        return data

    def data(self, run: Run, staged: StagedSource, build: Callable[[Path], histories.Histories]) -> Data:
        """Opens the run's histories, which `build` makes in a folder if they are not there."""

        def built_facts(folder: Path) -> dict[str, Any]:
            built = build(folder)
            return {"buckets": [path.name for path in built.buckets], "table1": asdict(built.table1)}

        inputs = {"source": staged.fingerprint, "version": HISTORIES_VERSION, **self.identity()}
        home, facts = run.stage("histories", inputs, built_facts)
        built = histories.Histories(
            tuple(home / name for name in facts["buckets"]),
            home / "items.arrow",
            histories.Table1(**facts["table1"]),
        )
        pool, catalogue = instances.open_pool(built)
        return Data(staged, built, pool, catalogue)

    def instances(
        self, data: Data, wanted: Callable[[Decision], bool] = lambda _: True
    ) -> Iterator[Instance | Dropped]:
        """Every instance that is wanted, in the order of pseudonyms."""
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
                wanted=wanted,
            )

    def _judge_and_write(
        self, run: Run, data: Data, planner: plan.Planner | None, prices: PriceTable
    ) -> BuildResult:
        """Asks for what the journal lacks, then writes the dataset from the journal alone."""
        judges = asking.judges_of(self.prompts, self.where, self.lexical(data))
        planned = planner.plan() if planner else None
        with Journal(run.journal) as journal:
            desk = Desk(self.prompts, self.where, judges, journal, prices, self.report)
            if planner and self.where.pilot:
                planned = planner.plan(desk.pilot(self.judged(data)))
                if self.where.dry_run:
                    return BuildResult(self.where.out, None, planned, {})
                self._agree(planned, self.where.yes)
            each = self.recipe.histories.instances_per_user
            asked = desk.ask(lambda: self.judged(data), "judging", data.histories.table1.users * each)
            run.update({"judging": asked})
            if planned:
                run.update({"plan": planned.account(), "bill": desk.bill().as_dict()})
            tally, manifest = self.publish(run, data, judges, journal)
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

    def publish(
        self, run: Run, data: Data, judges: dict[str, Judge], journal: Journal
    ) -> tuple[writing.Tally, dict[str, Any]]:
        """Writes the dataset from the journal alone and publishes it; returns the tally and the manifest."""
        run.update({"usage": asdict(journal.usage()), "status": "writing"})
        facts = self._facts(run, judges)
        tally, rows = writing.write(
            run,
            self.instances(data),
            asking.replay(self.prompts, judges, journal),
            self.prompts,
            facts,
            data.staged.dropped,
            self.report,
            data.histories.table1.users * (self.recipe.histories.instances_per_user + 2),
        )
        status = "incomplete" if tally.failed else "complete"
        return tally, run.update({"status": status, "rows": rows, "card": facts, **tally.facts()})

    def lexical(self, data: Data) -> LexicalJudge | None:
        """The built-in judge, its levels set by a sample of the data; None where no role has it."""
        named = "lexical" in (self.recipe.judges.capo, self.recipe.judges.sft)
        return self.fitted(data) if named else None

    def fitted(self, data: Data) -> LexicalJudge:
        """The built-in judge, fitted to the run's catalogue and histories."""
        return calibration.fit(
            data.histories.buckets,
            data.pool,
            data.catalogue,
            self.prompts,
            lambda wanted: self.instances(data, wanted),
            where=str(self.request.path or self.recipe.domain),
        )

    def _facts(self, run: Run, judges: Mapping[str, Judge]) -> dict[str, Any]:
        """What the card tells beside the counts; no times, no paths."""
        manifest, roles, form = run.manifest(), self.recipe.judges, self.recipe.prompt
        templates = {"judge": self.prompts.judge, "recommender": self.prompts.recommender}
        versions = {role: template.version for role, template in templates.items()}
        recipe = self._told_recipe()
        # How a shop calls its columns is nobody's business and changes no row.
        recipe["source"] = {name: value for name, value in recipe["source"].items() if name != "columns"}
        return {
            "tool": manifest["tool"],
            "domain": self.recipe.domain,
            "recipe": recipe,
            "recipe_hash": digest({"recipe": recipe, "prompts": versions}),
            "table1": manifest["table1"],
            "prompts": {
                role: {"name": recipe["prompt"][role], "version": template.version, "text": template.text}
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
