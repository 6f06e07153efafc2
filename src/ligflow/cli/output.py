"""The files that a command writes of a flow, and whether they can be written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ligflow.cli.options import OUTPUT, option
from ligflow.cli.usage_errors import Usage, checked
from ligflow.extras import need

if TYPE_CHECKING:
    from ligflow.flow import Flow

# How files of each kind end. A name that ends like another kind is a mistake; any other name is taken.
ENDINGS = {
    "--html": (".html", ".htm"),
    "--json": (".json",),
    "--csv": (".csv",),
    "--save": (".safetensors",),
    "--graph": (".graphml", ".json"),
    "--plot": (".pdf", ".svg", ".png"),
}
_KINDS = {
    "--html": "a web page",
    "--json": "JSON",
    "--csv": "a CSV table",
    "--save": "a flow",
    "--graph": "a graph",
    "--plot": "a figure",
}
_OTHERS = (".jpg", ".jpeg", ".gif", ".txt", ".md", ".tsv", ".xlsx", ".parquet", ".pt")


def check_endings(**paths: Path | None) -> None:
    """Raises Usage for a file that by its name holds something else than the option writes."""
    known = {ending for endings in ENDINGS.values() for ending in endings} | {*_OTHERS}
    for name, path in paths.items():
        option, ending = f"--{name}", path.suffix.lower() if path else ""
        if ending in known and ending not in ENDINGS[option]:
            raise Usage(
                f"{option} writes {_KINDS[option]}, and {str(path)!r} ends in {ending}; "
                f"end it in {' or '.join(ENDINGS[option])}."
            )


def check_writable(*paths: Path | None) -> None:
    """Raises Usage, before a computation starts, for a file that could not be written after it."""
    files = [path for path in paths if path and str(path) != "-"]
    if files:
        from ligflow.files import ensure_writable

        for path in files:
            checked(ensure_writable, path)


@dataclass(frozen=True)
class Outputs:
    """Where `explain`, `view` and `why` write."""

    json: Path | None = None
    csv: Path | None = None
    html: Path | None = None
    save: Path | None = None
    graph: Path | None = None
    plot: Path | None = None
    plot_kind: str | None = None

    def check(self) -> None:
        """Says before the computation starts what could not be written after it."""
        check_endings(json=self.json, csv=self.csv, html=self.html, save=self.save, graph=self.graph)
        self._check_plot()
        files = (self.csv, self.html, self.save, self.graph, self.plot)
        for path in files:
            if str(path) == "-":
                raise Usage("Only --json writes to standard output with '-'; give the others a file.")
        named = [path.resolve() for path in (self.json, *files) if path is not None]
        for path in named:
            if named.count(path) > 1:
                raise Usage(
                    f"Two options write {str(path)!r}, and one would replace the other; name two files."
                )
        check_writable(self.json, *files)

    def _check_plot(self) -> None:
        """A figure has one of three formats, and needs matplotlib."""
        if self.plot is None:
            if self.plot_kind is not None:
                raise Usage("--plot-kind is for the figure of --plot.")
            return
        if self.plot.suffix.lower() not in ENDINGS["--plot"]:
            raise Usage(f"--plot writes a figure; end {str(self.plot)!r} in {', '.join(ENDINGS['--plot'])}.")
        checked(need, "figures", "A figure")

    def write(self, flow: Flow, shown: Flow, others: list[Flow], view: str) -> list[Path]:
        """The flow as computed is saved and in the page; the other forms are of the flow as shown."""
        from ligflow.files import write_text

        written = [flow.save(self.save)] if self.save else []
        if self.csv:
            written.append(write_text(self.csv, shown.to_pandas().to_csv(index=False)))
        if self.html:
            written.append(flow.to_html(self.html, *others, view=view))
        if self.json and str(self.json) != "-":
            written.append(write_text(self.json, as_json(shown)))
        return written


def as_json(flow: Flow) -> str:
    """Maps as nested lists, [layer][head][target][source], with totals and certificates."""
    from ligflow.results.flow_data import DIMS, SPLIT_ERROR

    maps = {name: flow.tensors[name].tolist() for name in DIMS if name in flow.tensors}
    for route in flow.routes:
        maps[f"{route}_total"] = flow.total(route).tolist()
        maps[f"{route}_certificate"] = flow.certificate(route).tolist()
    if SPLIT_ERROR in flow.tensors:
        maps["z2z_split_error"] = flow.split_error.tolist()
    head = {"tokens": flow.tokens, "layers": flow.layers, "targets": flow.targets, "meta": dict(flow.meta)}
    return json.dumps(head | {"maps": maps}, ensure_ascii=False)


Save = Annotated[Path | None, option("Save the flow (safetensors).", OUTPUT, "--save")]
Json = Annotated[Path | None, option("Write all maps as JSON; - for standard output.", OUTPUT, "--json")]
Csv = Annotated[Path | None, option("Write all cells as a CSV table.", OUTPUT, "--csv")]
Html = Annotated[Path | None, option("Write an interactive page with all layers.", OUTPUT, "--html")]
