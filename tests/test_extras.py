"""Extras: what they hold, and what is said where one is missing."""

import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from ligflow import CompletenessWarning, LigflowError, LigflowWarning, MemoryWarning, TextWarning
from ligflow.errors import RunWarning
from ligflow.extras import EXTRAS, need

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def installed(extra: str) -> set[str]:
    """The packages of an extra and of those that it names, but for what only some Pythons need."""
    asked = [Requirement(line) for line in PROJECT["optional-dependencies"][extra]]
    asked = [requirement for requirement in asked if requirement.marker is None]
    named = [other for requirement in asked if requirement.name == "ligflow" for other in requirement.extras]
    own = {requirement.name.replace("-", "_") for requirement in asked if requirement.name != "ligflow"}
    return own.union(*map(installed, named))


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_holds_what_is_looked_for(extra: str) -> None:
    assert installed(extra) == set(EXTRAS[extra])
    need(extra, "This")


def test_all_is_every_extra() -> None:
    extras = set(PROJECT["optional-dependencies"]) - {"all"}
    assert extras == set(EXTRAS)
    assert installed("all") == set().union(*map(installed, extras))


def test_weights_are_of_one_version() -> None:
    """Figures of the documentation are theirs."""
    extras = PROJECT["optional-dependencies"]
    assert all("==" in extras[name][0] for name in ("minilm", "gemma"))


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(LigflowError, match=r"^A table needs xarray: pip install 'ligflow\[tables\]'\.$"):
        need("tables", "A table")


@pytest.mark.parametrize("kind", [CompletenessWarning, MemoryWarning, TextWarning, RunWarning])
def test_one_line_filters_every_warning(kind: type[Warning]) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("ignore", LigflowWarning)
        warnings.warn("one", kind, stacklevel=1)
    assert not seen


def test_ligflow_is_imported_where_the_system_has_no_resource_module() -> None:
    """As on Windows; psutil has code of its own for each system."""
    script = "import sys, psutil; sys.modules['resource'] = None; import ligflow.explainer.explainer"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_public_names_are_imported_when_they_are_asked_for() -> None:
    script = (
        "import sys, ligflow\n"
        "assert 'torch' not in sys.modules and 'Explainer' in dir(ligflow)\n"
        "from ligflow import Explainer, Flow, Pair, Words, explain, attribute_layer, direction\n"
        "assert ligflow.Explainer is Explainer and 'Explainer' in vars(ligflow)\n"
        "sys.exit(hasattr(ligflow, 'Explorer'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
