"""The options that name dictionaries of features, and what a file of tensors does not say itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ligflow.cli.options import METHOD, choice, option
from ligflow.cli.usage_errors import Usage
from ligflow.errors import LigflowError

if TYPE_CHECKING:
    from ligflow.dictionaries.dictionary import Dictionary

Features = Annotated[
    list[Path] | None,
    option(
        "A dictionary whose features are listed, repeatable: a folder of SAELens or sparsify, or a file of "
        "tensors with --feature-hook.",
        METHOD,
        "--features",
    ),
]
FeatureNames = Annotated[
    Path | None, option("Names and links of the features: CSV or JSON.", METHOD, "--feature-names")
]
FeatureHook = Annotated[
    str | None,
    option(
        "Where the dictionary stands, if its files do not say so: blocks.5.hook_resid_post, or a module of "
        "the model.",
        METHOD,
        "--feature-hook",
    ),
]
FeatureSource = Annotated[
    str | None, option("What a transcoder encodes, if its files do not say so.", METHOD, "--feature-source")
]
FeatureK = Annotated[
    int | None, option("Of a file of tensors: so many features are active (top-k).", METHOD, "--feature-k")
]
_CENTRED = {"yes": "yes", "no": "no"}
FeatureCentred = Annotated[
    str | None,
    choice("--feature-centred", _CENTRED, "Of tensors: is b_dec taken off before the encoder", METHOD),
]

_IN_SHELL = {
    "hook=": "--feature-hook ",
    "source=": "--feature-source ",
    "centred=False": "--feature-centred no",
    "centred=True": "--feature-centred yes",
    "leave centred out": "leave --feature-centred out",
    "leave k out": "leave --feature-k out",
}


@dataclass(frozen=True)
class Named:
    """The dictionaries that a command names, and what is said of the only one."""

    paths: Sequence[Path]
    names: Path | None = None
    hook: str | None = None
    source: str | None = None
    k: int | None = None
    centred: str | None = None

    def check(self, cut: str) -> None:
        """Raises Usage for options that do not go together."""
        alone = {
            "--feature-names": self.names,
            "--feature-hook": self.hook,
            "--feature-source": self.source,
            "--feature-k": self.k,
            "--feature-centred": self.centred,
        }
        given = [name for name, value in alone.items() if value is not None]
        if given and len(self.paths) != 1:
            raise Usage(f"{given[0]} says something of one dictionary; give it with one --features.")
        if self.paths and cut == "model":
            raise Usage("--features are read where layers are cut; leave --cut model out.")

    def read(self) -> list[Dictionary]:
        """The dictionaries. Raises Usage, in terms of the options, where one cannot be read."""
        from ligflow.dictionaries.read import read_dictionary

        centred = None if self.centred is None else self.centred == "yes"
        read = partial(
            read_dictionary, hook=self.hook, source=self.source, names=self.names, k=self.k, centred=centred
        )
        try:
            return [read(path) for path in self.paths]
        except LigflowError as problem:
            raise Usage(_in_shell(str(problem))) from problem


def _in_shell(message: str) -> str:
    """A message about arguments of a function, about the options that stand for them."""
    for argument, typed in _IN_SHELL.items():
        message = message.replace(argument, typed)
    return message
