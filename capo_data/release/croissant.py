"""Croissant metadata: what the dataset is, which files it has, and what each field of a row means.

https://docs.mlcommons.org/croissant/docs/croissant-spec.html; every file stands with its SHA-256, so a loader
can check what it fetched.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_data.release.dataset import files_of
from capo_data.release.front_matter import TEXTS, one_line
from capo_data.release.schema import SPLITS, schema
from capo_data.text import visible

if TYPE_CHECKING:
    import pyarrow as pa

NAME = "croissant.json"
CITE = (
    "Park et al., More Than What Was Chosen:"
    " LLM-based Explainable Recommendation Beyond Noisy User Preferences"
)
CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_TYPES = {
    "string": "sc:Text",
    "bool": "sc:Boolean",
    "int32": "sc:Integer",
    "int64": "sc:Integer",
    "double": "sc:Float",
}


def write(folder: Path, facts: Mapping[str, Any]) -> None:
    """Writes croissant.json beside the files of a release; `facts` as in `card.render`."""
    text = json.dumps(metadata(folder, facts), indent=2, ensure_ascii=False) + "\n"
    (folder / NAME).write_text(text, encoding="utf-8", newline="\n")


def metadata(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata as JSON-LD: text of shops and publishers stands in it as text."""
    release, withheld = facts.get("release", {}), facts["format"].get("text") == TEXTS[1]
    domain, repository = visible(str(facts["domain"])), facts.get("repository")
    about = f"{domain}: chosen, hard and easy rejected items of a recommender, with rationales and scores."
    told: dict[str, Any] = {
        "@context": dict(CONTEXT),
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": f"capo-{domain}",
        "description": about + (" The source's texts are withheld." if withheld else ""),
        "license": _licence(release),
        "citeAs": CITE,
        "keywords": ["recommender systems", "preference optimisation", "rationales", "capo-data"],
        "inLanguage": [one_line(code) for code in release.get("language") or ("en",)],
    }
    if repository:
        told["url"] = f"https://huggingface.co/datasets/{repository}"
    if terms := release.get("terms"):
        told["usageInfo"] = visible(f"{terms['name']}: {terms['text']}")
    files: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    for config, splits in SPLITS.items():
        for split in splits:
            paths = files_of(folder, config, split)
            own = [_file(folder, path) for path in paths]
            source = {"fileObject": {"@id": own[0]["@id"]}}
            if len(own) > 1:
                own.append(_set(config, split, own))
                source = {"fileSet": {"@id": own[-1]["@id"]}}
            files += own
            records.append(_records(config, split, schema(config, withheld), source))
    return {**told, "distribution": files, "recordSet": records}


def _licence(release: Mapping[str, Any]) -> str:
    """A link where there is one: Croissant wants a URL, or the name of a known licence."""
    if link := release.get("license_link"):
        return visible(str(link))
    return visible(str(release.get("license_name") or release.get("license") or "unknown"))


def _file(folder: Path, path: Path) -> dict[str, Any]:
    name = path.relative_to(folder).as_posix()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": "application/x-parquet",
        "sha256": digest,
    }


def _set(config: str, split: str, files: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"{config}/{split}-files",
        "name": f"{config}/{split}-files",
        "containedIn": [{"@id": file["@id"]} for file in files],
        "encodingFormat": "application/x-parquet",
        "includes": f"{config}/{split}-*.parquet",
    }


def _records(config: str, split: str, rows: pa.Schema, source: Mapping[str, Any]) -> dict[str, Any]:
    name = f"{config}-{split}"
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"Config {config}, split {split}; the README explains every field.",
        "key": {"@id": f"{name}/id"},
        "field": [_field(f"{name}/{field.name}", field.type, field.name, (), source) for field in rows],
    }


def _field(
    name: str, kind: pa.DataType, column: str, path: tuple[str, ...], source: Mapping[str, Any]
) -> dict[str, Any]:
    """A field of a row, or of a struct in it: a list is a repeated field, a struct has sub-fields."""
    import pyarrow as pa

    repeated = pa.types.is_list(kind)
    inner = kind.value_type if repeated else kind
    told: dict[str, Any] = {"@type": "cr:Field", "@id": name, "name": name}
    if repeated:
        told["repeated"] = True
    if pa.types.is_struct(inner):
        told["subField"] = [
            _field(f"{name}/{child.name}", child.type, column, (*path, child.name), source) for child in inner
        ]
        return told
    told["dataType"] = _TYPES[str(inner)]
    told["source"] = {**source, "extract": {"column": column}}
    if path:
        told["source"]["transform"] = {"jsonPath": ".".join(path)}
    return told
