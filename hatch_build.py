"""The README as package indexes show it: its links are absolute, since its neighbours are not there.

They lead to the `Repository` of `[project.urls]` in pyproject.toml, at the tag of the version. While that is
not named, links to files of the repository become plain words and pictures are left out, so that none leads
nowhere.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE = r"\((?!https?://|mailto:|#)([^)\s]+)\)"
_PICTURE = re.compile(r"!\[([^\]]*)\]" + _RELATIVE + r"\n*")
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]" + _RELATIVE)


class ReadmeHook(MetadataHookInterface):
    """Gives the project's metadata a README whose links lead somewhere."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Sets `readme`."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        repository = metadata.get("urls", {}).get("Repository")
        text = readme(text, repository and f"{repository.rstrip('/')}/blob/v{metadata['version']}")
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def readme(text: str, base: str | None) -> str:
    """A page whose relative links start with `base`; without one, a page without such links and pictures."""
    if base is None:
        return _LINK.sub(r"\1", _PICTURE.sub("", text))
    raw = base.replace("/blob/", "/raw/", 1)
    text = _PICTURE.sub(lambda match: match[0].replace(f"({match[2]})", f"({raw}/{match[2]})"), text)
    return _LINK.sub(lambda match: f"[{match[1]}]({base}/{match[2]})", text)
