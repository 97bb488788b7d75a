"""The features of each config as `datasets` writes them into a card: what a stranger sees before loading.

https://huggingface.co/docs/datasets/about_dataset_features
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from capo_data.release.schema import SPLITS, schema

if TYPE_CHECKING:
    import pyarrow as pa

_NAMES = {"double": "float64"}  # where Arrow and `datasets` differ


def dataset_info(counts: Mapping[str, Any], withheld: bool) -> list[dict[str, Any]]:
    """The `dataset_info` of the front matter.

    Args:
        counts: `rows`, and where they are known `bytes` (uncompressed) and `download`, by split; see
            `dataset.assemble` and `prepare.write`.
        withheld: See `schema`.
    """
    sizes = counts.get("bytes", {})
    found = []
    for config, splits in SPLITS.items():
        info: dict[str, Any] = {
            "config_name": config,
            "features": [{"name": field.name, **_feature(field.type)} for field in schema(config, withheld)],
        }
        names = {split: config if split == "train" else split for split in splits}
        if sizes:
            info["splits"] = [
                {"name": split, "num_bytes": int(sizes[name]), "num_examples": int(counts["rows"][name])}
                for split, name in names.items()
            ]
            info["dataset_size"] = sum(int(sizes[name]) for name in names.values())
        if download := counts.get("download"):
            info["download_size"] = sum(int(download[name]) for name in names.values())
        found.append(info)
    return found


def _feature(kind: pa.DataType) -> dict[str, Any]:
    import pyarrow as pa

    if pa.types.is_list(kind):
        inner = _feature(kind.value_type)
        return {"list": inner.get("struct", inner.get("dtype", inner))}
    if pa.types.is_struct(kind):
        return {"struct": [{"name": child.name, **_feature(child.type)} for child in kind]}
    return {"dtype": _NAMES.get(str(kind), str(kind))}
