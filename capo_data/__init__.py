"""Data that teaches recommenders why.

Every command is a call of the same name and arguments: `capo_data.build(domain="demo")`,
`capo_data.stats("runs/demo")`, `capo_data.validate("runs/demo/dataset")`,
`capo_data.show("runs/demo/dataset")`, `capo_data.report("runs/demo")`, `capo_data.agree("ratings.csv")`,
`capo_data.annotate.export("runs/demo", raters="ann,bo")`; and the leak check is
`capo_data.find_leaks(history_ids, candidate_ids)`.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from capo_data import annotating as annotate
    from capo_data import judge as judge
    from capo_data.agreeing import agree as agree
    from capo_data.pipeline import build as build
    from capo_data.rating.rate import rate as rate
    from capo_data.recipe_shelf import recipe_check as recipe_check
    from capo_data.recipe_shelf import recipe_diff as recipe_diff
    from capo_data.recipe_shelf import recipe_show as recipe_show
    from capo_data.rehydrating import rehydrate as rehydrate
    from capo_data.release.leaks import find_leaks as find_leaks
    from capo_data.release.push import pull as pull
    from capo_data.release.push import push as push
    from capo_data.release.report import report as report
    from capo_data.release.show import show as show
    from capo_data.release.validation import validate as validate
    from capo_data.table1 import stats as stats

__version__ = "0.1.0"

# No telemetry, ours or a library's: huggingface_hub reads this when it is first imported.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

# Imported when first used: `import capo_data` and `--help` stay light.
_GROUPS = {
    "annotate": "capo_data.annotating",
    "judge": "capo_data.judge",
}  # commands with commands below them: modules
_PUBLIC = {
    "agree": "capo_data.agreeing",
    "build": "capo_data.pipeline",
    "find_leaks": "capo_data.release.leaks",
    "pull": "capo_data.release.push",
    "push": "capo_data.release.push",
    "rate": "capo_data.rating.rate",
    "recipe_check": "capo_data.recipe_shelf",
    "recipe_diff": "capo_data.recipe_shelf",
    "recipe_show": "capo_data.recipe_shelf",
    "rehydrate": "capo_data.rehydrating",
    "report": "capo_data.release.report",
    "show": "capo_data.release.show",
    "stats": "capo_data.table1",
    "validate": "capo_data.release.validation",
}
__all__ = [
    "__version__",
    "agree",
    "annotate",
    "build",
    "find_leaks",
    "judge",
    "pull",
    "push",
    "rate",
    "recipe_check",
    "recipe_diff",
    "recipe_show",
    "rehydrate",
    "report",
    "show",
    "stats",
    "validate",
]


def __getattr__(name: str) -> Any:
    if name in _GROUPS:
        return import_module(_GROUPS[name])
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'capo_data' has no attribute {name!r}")
