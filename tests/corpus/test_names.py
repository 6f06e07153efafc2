"""The public names of ligflow.corpus: each is there, none costs anything before it is asked for."""

import subprocess
import sys

import pytest

import ligflow.corpus
from ligflow.corpus import runs
from ligflow.errors import LigflowError


def test_every_name_is_there() -> None:
    named = set(ligflow.corpus._HOMES)
    assert {"run", "read", "report", "compare", "Corpus", "Experiment", "Sentence", "Trial"} <= named
    for name in named:
        value = getattr(ligflow.corpus, name)
        assert value.__name__ == name
        assert value.__module__ == f"ligflow.corpus.{ligflow.corpus._HOMES[name]}"
    assert named <= set(dir(ligflow.corpus))


def test_a_name_stays_what_it_is_after_its_package_is_imported() -> None:
    assert runs.__name__ == "ligflow.corpus.runs"
    assert callable(ligflow.corpus.run)
    assert callable(ligflow.corpus.report)


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'walk'"):
        _ = ligflow.corpus.walk


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ligflow.extras.find_spec", lambda name: None if name == "conllu" else name)

    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(ligflow.corpus, "import_module", missing)
    with pytest.raises(
        LigflowError, match=r"ligflow.corpus.read needs conllu: pip install 'ligflow\[corpus\]'"
    ):
        _ = ligflow.corpus.read


def test_nothing_is_imported_before_a_name_is_asked_for() -> None:
    code = (
        "import sys, ligflow.corpus; "
        "assert not {'torch', 'pandas', 'pyarrow', 'matplotlib', 'conllu'} & {*sys.modules}; "
        "from ligflow.corpus import Sentence; assert Sentence(0, 'a', 'b').text == 'a'; "
        "assert not {'torch', 'pandas', 'pyarrow', 'matplotlib'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
