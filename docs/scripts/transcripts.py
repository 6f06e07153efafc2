"""Runs the commands of the `console` blocks in the pages and writes their output below them.

Run: .venv/bin/python docs/transcripts.py [PAGE ...]     (default: all that have any)
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parent
BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)


def run(command: str, folder: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    quiet = {"PATH": path, "COLUMNS": "100", "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=os.environ | quiet,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines())


def refresh(page: Path, folder: str) -> None:
    def replace(block: re.Match[str]) -> str:
        commands = [line for line in block[0].splitlines() if line.startswith("$ ")]
        parts = [f"{line}\n{run(line[2:], folder)}".rstrip() for line in commands]
        return "\n".join(parts) + "\n"

    page.write_text(BLOCK.sub(replace, page.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {page}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:] or ("reference/cli.md", "explanation/guarantees.md", "reference/models.md"):
            refresh(DOCS / name, folder)


if __name__ == "__main__":
    main()
