"""Runs the commands of the `console` blocks in the pages and writes their output below them.

Run: .venv/bin/python docs/scripts/transcripts.py [--check] [PAGE ...]     (default: all that have any)

With --check nothing is written: the pages whose blocks have become stale are named, and it exits with 1.

By hand, for the blocks stay plain Markdown: cog (cogapp) wants marks around each, and the same `run`
beside them.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parents[1]
PAGES = ("reference/cli.md", "explanation/guarantees.md", "reference/models.md")
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


def refreshed(text: str, folder: str) -> str:
    """A page with the output of its commands as of today."""

    def replace(block: re.Match[str]) -> str:
        commands = [line for line in block[0].splitlines() if line.startswith("$ ")]
        parts = [f"{line}\n{run(line[2:], folder)}".rstrip() for line in commands]
        return "\n".join(parts) + "\n"

    return BLOCK.sub(replace, text)


def main() -> None:
    names = [name for name in sys.argv[1:] if name != "--check"]
    check = len(names) < len(sys.argv) - 1
    stale = []
    with tempfile.TemporaryDirectory() as folder:
        for page in [DOCS / name for name in names or PAGES]:
            text = page.read_text(encoding="utf-8")
            if (now := refreshed(text, folder)) != text:
                stale.append(page)
                if not check:
                    page.write_text(now, encoding="utf-8")
    print(*(f"{'stale: ' if check else 'wrote '}{page}" for page in stale), sep="\n")
    sys.exit(check and bool(stale))


if __name__ == "__main__":
    main()
