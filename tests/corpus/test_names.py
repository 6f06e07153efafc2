"""The public names of ligflow.corpus: no package hides them, and a missing extra is named."""

import pytest

import ligflow.corpus
from ligflow.corpus import runs
from ligflow.errors import LigflowError


def test_a_name_stays_what_it_is_after_its_package_is_imported() -> None:
    assert runs.__name__ == "ligflow.corpus.runs"
    assert ligflow.corpus.run.__module__ == "ligflow.corpus.runs.runner"
    assert ligflow.corpus.report.__module__ == "ligflow.corpus.reports.report"


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ligflow.extras.find_spec", lambda name: None if name == "conllu" else name)

    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(ligflow.corpus, "_named", missing)
    monkeypatch.delitem(vars(ligflow.corpus), "read", raising=False)
    with pytest.raises(
        LigflowError, match=r"ligflow.corpus.read needs conllu: pip install 'ligflow\[corpus\]'"
    ):
        _ = ligflow.corpus.read
