"""What an exported set needs to serve people who have never heard of moc."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from moc.data.declared import DataInfo
from moc.data.synthetic import SyntheticSet
from moc.errors import PolicyError

LOADER, TABLE, DECODED, CROISSANT, SUMS, PNGS = (
    "load.py",
    "train.parquet",
    "training.safetensors",
    "croissant.json",
    "SHA256SUMS",
    "png",
)
_LOADER = '''\
"""Loads this set without moc. It needs numpy{needs}."""
import json
from pathlib import Path

{imports}

here = Path(__file__).parent
data = json.loads((here / "card.json").read_text(encoding="utf-8"))["data"]
arrays = {read}(here / "{file}")
x, labels = arrays["x"], arrays["labels"]  # values in [0, 1]; label distributions
shape = (-1,) + (1,) * (len(data["shape"]) - 1)
mean, std = (np.array(data[key], np.float32).reshape(shape) for key in ("mean", "std"))
if __name__ == "__main__":
    print(x.shape, labels.shape, data["classes"], "train on (x - mean) / std")
'''
_HEADER = """\
---
pretty_name: {name}
configs:
- config_name: default
  data_files:
  - split: train
    path: {table}
---
"""


def check_pngs(info: DataInfo) -> None:
    """Refuse what no PNG can show.

    Raises:
        PolicyError: If the records are not grey or RGB images.
    """
    if not info.is_image or info.shape[0] not in (1, 3):
        raise PolicyError(
            f"PNGs need grey or RGB images; these are records of shape {info.shape}. "
            "Leave --png out."
        )


def header(name: str) -> str:
    """What `datasets.load_dataset` reads at the top of README.md."""
    return _HEADER.format(name=json.dumps(name), table=TABLE)


def write_for_strangers(
    synthetic: SyntheticSet, folder: Path, *, file: str, title: str, pngs: bool
) -> None:
    """Write the training records for other programs, a loader, PNGs if asked for, and metadata.

    Args:
        synthetic: The set.
        folder: Where its own file is.
        file: Name of that file.
        title: What the set is, in words.
        pngs: Whether to write every training record as a PNG too, by its most likely class.
    """
    x, labels = (part.cpu().numpy() for part in synthetic.training_records())
    names = np.array(synthetic.info.classes)[labels.argmax(1)]
    if file.endswith(".safetensors") and not synthetic.decoder.is_trivial:
        file = DECODED
        save_file({"x": np.ascontiguousarray(x), "labels": labels}, folder / DECODED)
    (folder / LOADER).write_text(_loader(file), encoding="utf-8")
    _write_table(x, labels, names, folder / TABLE)
    if pngs:
        _write_pngs(x, labels.argmax(1), synthetic.info.classes, folder / PNGS)
    described = croissant(folder, name=synthetic.info.name, title=title, shape=x.shape[1:])
    text = json.dumps(described, indent=2, ensure_ascii=False)
    (folder / CROISSANT).write_text(text + "\n", encoding="utf-8")


def _loader(file: str) -> str:
    if file.endswith(".npz"):
        parts = {"needs": "", "imports": "import numpy as np", "read": "np.load"}
    else:
        imports = "import numpy as np\nfrom safetensors.numpy import load_file"
        parts = {"needs": " and safetensors", "imports": imports, "read": "load_file"}
    return _LOADER.format(file=file, **parts)


def _write_table(x: np.ndarray, labels: np.ndarray, names: np.ndarray, path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    nested = pa.float32()
    for _ in x.shape[1:]:
        nested = pa.list_(nested)
    columns = {
        "x": pa.array(x.tolist(), nested),
        "label": pa.array(labels.argmax(1)),
        "class": pa.array(names.tolist(), pa.string()),
        "labels": pa.array(labels.tolist(), pa.list_(pa.float32())),
    }
    parquet.write_table(pa.table(columns), path)


def _write_pngs(x: np.ndarray, y: np.ndarray, classes: tuple[str, ...], folder: Path) -> None:
    digits = len(str(len(classes) - 1))
    pixels = (x * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
    pixels = pixels[..., 0] if pixels.shape[3] == 1 else pixels
    for k, name in enumerate(classes):
        plain = re.sub(r"[^\w.-]+", "_", name)
        home = folder / f"{k:0{digits}d}-{plain}"
        for place, index in enumerate(np.flatnonzero(y == k)):
            home.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[index]).save(home / f"{place:04d}.png")


def croissant(folder: Path, *, name: str, title: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Croissant 1.0 metadata of an exported folder (MLCommons).

    Args:
        folder: The folder, with its table.
        name: Name of the data that the set stands for.
        title: What it is, in words.
        shape: Of one record.
    """
    fields = [
        _field("x", "sc:Float", f"Values in [0, 1], nested lists of shape {tuple(shape)}", True),
        _field("label", "sc:Integer", "Number of the most likely class", False),
        _field("class", "sc:Text", "Its name", False),
        _field("labels", "sc:Float", "Label distribution over all classes", True),
    ]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": re.sub(r"[^\w-]+", "-", f"{name}-condensed"),
        "description": title,
        "version": "1.0.0",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": TABLE,
                "name": TABLE,
                "contentUrl": TABLE,
                "encodingFormat": "application/x-parquet",
                "sha256": sha256(folder / TABLE),
            }
        ],
        "recordSet": [
            {"@type": "cr:RecordSet", "@id": "records", "name": "records", "field": fields}
        ],
    }


def _field(name: str, kind: str, words: str, repeated: bool) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"records/{name}",
        "name": name,
        "description": words,
        "dataType": kind,
        **({"repeated": True} if repeated else {}),
        "source": {"fileObject": {"@id": TABLE}, "extract": {"column": name}},
    }


_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "equivalentProperty": "cr:equivalentProperty",
    "samplingRate": "cr:samplingRate",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
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
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def sha256(path: Path) -> str:
    """Hash of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_sums(folder: Path) -> None:
    """Hash every file of a folder, as `sha256sum -c SHA256SUMS` reads it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    lines = [f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def is_untouched(folder: Path) -> bool:
    """Whether a folder holds what it was written with, and nothing else.

    Raises:
        PolicyError: If its list of hashes is missing.
    """
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    return files == {SUMS, *_sums(folder)} and not changed_files(folder)


def changed_files(folder: Path) -> dict[str, str]:
    """What is wrong with each file that a folder was written with; empty if nothing is.

    Raises:
        PolicyError: If its list of hashes is missing or no such list.
    """
    wrong = {}
    for name, digest in _sums(folder).items():
        path = folder / name
        if not path.is_file():
            wrong[name] = "is missing"
        elif sha256(path) != digest:
            wrong[name] = "was changed"
    return wrong


def _sums(folder: Path) -> dict[str, str]:
    """The hash of each file by its name."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise PolicyError(
            f"An exported folder with its {SUMS} expected at {folder}; export the set again."
        ) from None
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
