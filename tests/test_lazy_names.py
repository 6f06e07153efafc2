"""The faces of packages: what they publish is there, lazily, as type checkers see it, and hides no module."""

import ast
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"


def homes(package: str) -> dict[str, str]:
    """The module of each public name, as the package's file gives it to `lazy_names`."""
    calls = [node for node in ast.walk(tree(package)) if isinstance(node, ast.Call)]
    (call,) = [call for call in calls if ast.unparse(call.func) == "lazy_names"]
    return ast.literal_eval(call.args[1])


def tree(package: str) -> ast.Module:
    return ast.parse(SOURCE.joinpath(*package.split("."), "__init__.py").read_text(encoding="utf-8"))


PACKAGES = sorted(
    ".".join(path.parent.relative_to(SOURCE).parts)
    for path in SOURCE.rglob("__init__.py")
    if "lazy_names(" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_see_the_same_names(package: str) -> None:
    (block,) = [node for node in tree(package).body if isinstance(node, ast.If)]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert {name.asname: node.module for node in imports for name in node.names} == homes(package)


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_those_of_their_modules_and_hide_none(package: str) -> None:
    face = import_module(package)
    modules = {module.name for module in pkgutil.iter_modules(face.__path__)}
    for name, home in homes(package).items():
        assert getattr(face, name) is getattr(import_module(home), name)
        assert name in dir(face)
        assert name not in modules
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        _ = face.nothing


def test_faces_import_nothing_that_takes_time() -> None:
    imports = "; ".join(f"import {package}" for package in PACKAGES)
    heavy = "{'torch', 'transformers', 'numpy', 'pandas', 'pyarrow', 'matplotlib'}"
    subprocess.run(
        [sys.executable, "-c", f"import sys; {imports}; assert not {heavy} & {{*sys.modules}}"], check=True
    )
