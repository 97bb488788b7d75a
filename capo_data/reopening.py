"""A finished or half-finished run, opened by its folder alone: its recipe, histories, judges and journal.

Nothing of the source is read: what a run needs of it lies in its stages and its manifest.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from capo_data import asking, given
from capo_data.errors import RunError, UsageError
from capo_data.judges import choose
from capo_data.judges.lexical import LexicalJudge
from capo_data.prompting import Prompts
from capo_data.records import Judge, RatingScale, Reporter, SourceRequest, StagedSource
from capo_data.run import Run, opened, read_manifest, recover
from capo_data.settings import Settings, cache_folder
from capo_data.stages import Build, Data


@dataclass(frozen=True)
class Reopened:
    """A run that is locked, and the build that made it.

    Attributes:
        run: The folder.
        build: As the manifest tells it.
        data: The run's histories.
    """

    run: Run
    build: Build
    data: Data

    @property
    def prompts(self) -> Prompts:
        """The run's templates."""
        return self.build.prompts

    @cached_property
    def judges(self) -> dict[str, Judge]:
        """The run's judges by name; made without a look at whether they can be asked."""
        names = {self.build.recipe.judges.capo, self.build.recipe.judges.sft}
        return asking.judges_of(
            self.prompts, self.build.where, self.lexical() if "lexical" in names else None
        )

    def lexical(self) -> LexicalJudge:
        """The built-in judge with the run's levels, whether or not the recipe names it."""
        return self.build.fitted(self.data)

    def check_available(self) -> None:
        """Refuses judges that cannot be asked here.

        Raises:
            UsageError: Neither a key nor a server.
        """
        choose.check_available(self.build.recipe, self.build.where)


@contextmanager
def reopened(folder: str | Path, report: Reporter, **settings: Any) -> Iterator[Reopened]:
    """Locks a run and opens what it holds.

    Args:
        folder: The run's folder.
        report: Told what happens.
        settings: Fields of `Settings` to set; None or () leaves what the manifest says or the default.

    Raises:
        UsageError: The run lacks what is needed, or was made with another salt or other templates.
        RunError: There is no run, or it is locked.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    _need_answers(folder)
    recipe = given.recipe_of(manifest, folder)
    kept = manifest["given"]
    where = Settings(
        out=folder,
        cache=cache_folder(),
        resume="require",
        base_urls=tuple(kept["base_urls"]),
        sft_base_urls=None if kept["sft_base_urls"] is None else tuple(kept["sft_base_urls"]),
    )
    where = replace(where, **{name: value for name, value in settings.items() if value not in (None, ())})
    source = SourceRequest(recipe.source.kind, recipe.domain, where.cache, path=manifest["source"]["path"])
    build = Build(recipe, where, source, report, None)
    with opened(folder, "require", build.identity()) as run:
        recover(run.dataset)
        yield Reopened(run, build, build.data(run, _staged(run, manifest), _gone))


def _need_answers(folder: Path) -> None:
    if not (folder / "journal.sqlite").exists():
        raise UsageError(
            "this run holds no answers",
            where=str(folder),
            why="its build stopped before anything was asked",
            next_command="type its build command again",
        )


def _staged(run: Run, manifest: dict[str, Any]) -> StagedSource:
    """What later stages need of the source; its dropped rows as the run kept them."""
    source = manifest["source"]
    return StagedSource(
        interactions=(),
        items=(),
        dropped=tuple(sorted(run.dropped.glob("source-*.parquet"))),
        dirt=source["dirt"],
        scale=RatingScale(*source["scale"]),
        fingerprint=source["fingerprint"],
    )


def _gone(folder: Path) -> NoReturn:
    raise RunError(
        "the run's histories are gone or were built by another version",
        where=str(folder.with_name("histories")),
        next_command="type its build command again: it makes them anew and asks nothing twice",
    )
