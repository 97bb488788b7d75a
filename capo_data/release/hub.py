"""Datasets of the Hub."""

from __future__ import annotations

import os
import re
from pathlib import Path

from capo_data.errors import ContractError
from capo_data.release.dataset import README, locate
from capo_data.release.schema import SPLITS


def resolve(path_or_hub_id: str | Path, revision: str | None = None) -> Path:
    """The dataset's folder: the one of that name, or one fetched if the name can be an id (`org/name`).

    Raises:
        ContractError: There is no dataset in the folder, or the Hub's cannot be had.
    """
    name = str(path_or_hub_id)
    if Path(name).exists() or isinstance(path_or_hub_id, Path) or not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return locate(Path(name))

    import httpx2
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    # The library reads HF_ENDPOINT once, at import; a caller may set it later.
    endpoint = os.environ.get("HF_ENDPOINT")
    wanted = [README, *(f"{config}/*.parquet" for config in SPLITS)]
    try:
        return Path(
            huggingface_hub.snapshot_download(
                name, repo_type="dataset", revision=revision, allow_patterns=wanted, endpoint=endpoint
            )
        )
    except (OSError, HFValidationError, httpx2.HTTPError) as error:
        raise ContractError(
            f"{name} is neither a folder nor a dataset of the Hub that can be fetched",
            where=(endpoint or "https://huggingface.co") + (f", revision {revision}" if revision else ""),
            why=" ".join(str(error).split()),
            next_command="check the spelling, the network and HF_TOKEN; or name a folder",
        ) from error
