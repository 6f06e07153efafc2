"""Names and links of a dictionary's features, from a table that someone made: CSV, JSON or JSON lines."""

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ligflow.errors import LigflowError

_NUMBER, _NAME = ("feature", "index"), ("name", "label", "description")
_SHAPE = "columns feature, name and url (the last may be missing)"


@dataclass(frozen=True)
class FeatureName:
    """What a feature is called, and where more is said of it."""

    name: str = ""
    url: str = ""


def read_feature_names(path: str | Path) -> dict[int, FeatureName]:
    """The features of a table by number: CSV, a JSON list or object, or JSON lines.

    Columns are `feature`, `name` and `url`; a JSON object may also give a name for each number. Raises
    LigflowError with the row that is wrong.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LigflowError(f"The table of features {str(path)!r} cannot be read: {error}.") from error
    rows = _of_csv(text) if path.suffix.lower() in (".csv", ".tsv") else _of_json(text, path)
    return _features(rows, str(path))


def _of_csv(text: str) -> list[Any]:
    first = text.partition("\n")[0]
    return list(csv.DictReader(text.splitlines(), delimiter="\t" if "\t" in first else ","))


def _of_json(text: str, path: Path) -> list[Any]:
    try:
        if path.suffix.lower() == ".jsonl":
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LigflowError(
            f"The table of features {str(path)!r} is no JSON: {error}. Give {_SHAPE}, "
            "as .csv, .json or .jsonl."
        ) from error
    if isinstance(data, Mapping):
        return [_of_pair(number, said) for number, said in data.items()]
    if isinstance(data, list):
        return data
    raise LigflowError(f"The table of features {str(path)!r} is no list of features; give {_SHAPE}.")


def _of_pair(number: str, said: Any) -> Any:
    return {"feature": number, **said} if isinstance(said, Mapping) else {"feature": number, "name": said}


def _features(rows: Iterable[Any], path: str) -> dict[int, FeatureName]:
    names: dict[int, FeatureName] = {}
    for line, row in enumerate(rows, 1):
        number = _first(row, _NUMBER) if isinstance(row, Mapping) else None
        name, url = (_first(row, _NAME), row.get("url")) if isinstance(row, Mapping) else (None, None)
        text = str(number).strip()
        numbered = not isinstance(number, bool) and text.isdecimal() and text.isascii() and len(text) < 12
        if not numbered or not all(part is None or isinstance(part, str) for part in (name, url)):
            raise LigflowError(
                f"Row {line} of the table of features {path!r} is {str(row)[:80]!r}; each row needs {_SHAPE}."
            )
        if url and not url.startswith(("http://", "https://")):
            raise LigflowError(
                f"Row {line} of the table of features {path!r} has the link {url[:80]!r}; give one that "
                "begins with http:// or https://."
            )
        if int(text) in names:
            raise LigflowError(f"The table of features {path!r} names feature {int(text)} twice.")
        names[int(text)] = FeatureName(name or "", url or "")
    return names


def _first(row: Mapping[Any, Any], columns: Iterable[str]) -> Any:
    return next((row[column] for column in columns if row.get(column) is not None), None)
