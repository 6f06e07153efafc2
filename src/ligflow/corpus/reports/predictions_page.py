"""The report on a run on prompts in Markdown: which heads and layers carry it, groups, prompts."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from ligflow.corpus.analysis.component_shares import ComponentShare
from ligflow.corpus.analysis.group_differences import GroupDifference
from ligflow.corpus.analysis.prompt_components import Component
from ligflow.corpus.reports.markdown import plain, table
from ligflow.corpus.reports.predictions_data import PredictionFindings

_NAMED, _LISTED, _FEW = 8, 30, 30
_CALLED = {"head": "heads", "cross-head": "heads that read the encoder", "mlp": "MLPs"}
_EXPLAINED = (
    "A *share* is what a head or MLP contributes to a prompt, over all tokens, relative to the change of the "
    "score (or to all relevance without signs, where that is more); the table has means over prompts. Shares "
    "of different layers do not add up: what one layer writes goes through the next. Intervals are 95%, of a "
    "bootstrap over prompts, and hold for all heads (or MLPs) at once. *Control*: the heads exchanged at "
    "random in each prompt; what the largest mean then stays below in 95% of the draws. A component "
    "*carries* the task, for the answer or against it, if its interval leaves out 0 and its share is beyond "
    "the control."
)
_MEANING = (
    "What this does not say: shares are of the change from the reference, and another reference has others. "
    "A head that carries any answer of the model carries this one too; groups tell tasks apart. Removing a "
    "head is another question, since others make up for it. Prompts that are made of one template are alike, "
    "and the intervals do not know it."
)


def summary(findings: PredictionFindings, shown: Callable[[str], str] = plain) -> list[str]:
    """What must be known first, a line each; `shown` is how names of groups are written."""
    prompts, count = findings.prompts, len(findings.prompts)
    lines = [f"Prompts: {count}.{_few(count)}"]
    if len(findings.left_out):
        lines.append(f"{len(findings.left_out)} prompts could not be explained (`left_out.csv` says why).")
    missing = len(findings.run.missing)
    if missing:
        lines.append(f"The run is not finished: {missing} of {findings.run.shards} shards are missing.")
    worst, unmet = prompts.certificate.abs().max(), int((prompts.unmet > 0).sum())
    lines.append(
        f"The score changes by {prompts.change.mean():+.3g} on average; tokens add up to it within "
        f"{worst:.1e} of its scale in every prompt, and {unmet} prompts have parts that miss the tolerance."
    )
    for kind, called in _CALLED.items():
        own = [row for row in findings.components if row.kind == kind]
        if own:
            lines.append(_carriers(own, called))
    return lines + _of_groups(findings, shown)


def _few(count: int) -> str:
    if count == 1:
        return " Of one prompt there is no interval, and nothing can be told."
    return f" Intervals from fewer than {_FEW} are too narrow." if count < _FEW else ""


def _carriers(rows: Sequence[ComponentShare], called: str) -> str:
    carrying = sorted((row for row in rows if row.carries), key=lambda row: -abs(row.share))
    limit = f"(the control stays below {rows[0].control:.1%})"
    if not carrying:
        return f"**None of {len(rows)} {called} carries the task** {limit}."
    named = ", ".join(f"{name_of(row)} {row.share:+.1%}" for row in carrying[:_NAMED])
    more = f", and {len(carrying) - _NAMED} more (`components.csv`)" if len(carrying) > _NAMED else ""
    verb = "carries" if len(carrying) == 1 else "carry"
    said = f"**{len(carrying)} of {len(rows)} {called} {verb} the task**{_against(carrying)}"
    return f"{said} {limit}: {named}{more}."


def _against(carrying: Sequence[ComponentShare]) -> str:
    """How many of those that carry it speak against the answer, where some do."""
    count = sum(row.share < 0 for row in carrying)
    if len(carrying) == 1:
        return ", against the answer" * count
    return f", {'all' if count == len(carrying) else count} of them against the answer" if count else ""


def carries_in_words(row: ComponentShare) -> str:
    """Whether a component carries the task, and which way: `for`, `against` the answer, `no`."""
    return ("for" if row.share > 0 else "against") if row.carries else "no"


def _of_groups(findings: PredictionFindings, shown: Callable[[str], str]) -> list[str]:
    """Which components differ in which group, and of which groups nothing can be told."""
    lines = []
    single = [name for name, size in findings.sizes.items() if size == 1]
    if len(findings.sizes) == 1:
        lines.append("All prompts with a group are of one: there is nothing to compare it with.")
    if single and len(findings.sizes) > 1:
        lines.append(f"Without an interval, since they have one prompt: {', '.join(map(shown, single))}.")
    two = list(findings.sizes) if len(findings.sizes) == 2 else []
    for name, rows in _by_group(findings.differences).items():
        if rows[0].prompts == 1:
            continue
        differing = sorted((row for row in rows if row.differs), key=lambda row: -abs(row.difference))
        said = ", ".join(f"{name_of(row)} {row.difference:+.1%}" for row in differing[:_NAMED])
        more = f", and {len(differing) - _NAMED} more (`groups.csv`)" if len(differing) > _NAMED else ""
        other = [f"group {shown(each)}" for each in two if each != name] or ["the others"]
        lines.append(
            f"Group {shown(name)} ({rows[0].prompts} prompts) differs from {other[0]} in "
            + (
                f"{len(differing)} component{'s' * (len(differing) > 1)}: {said}{more}."
                if differing
                else "nothing that can be told."
            )
        )
        if two:
            break  # of two groups one difference is the other with its sign turned
    return lines


def _by_group(rows: Sequence[GroupDifference]) -> Mapping[str, list[GroupDifference]]:
    grouped: dict[str, list[GroupDifference]] = {}
    for row in rows:
        grouped.setdefault(row.group, []).append(row)
    return grouped


def name_of(row: ComponentShare | GroupDifference) -> str:
    """A component as it is called on screens."""
    return Component(row.kind, row.layer, row.head).name


def page(findings: PredictionFindings, links: Mapping[int, str]) -> str:
    """The report; `links` are the pages of prompts by their numbers."""
    return "\n\n".join([
        f"# Predictions: {plain(findings.run.manifest['model']['name'])}",
        "\n".join(f"- {line}" for line in summary(findings)),
        _EXPLAINED, _MEANING,
        "## Heads and MLPs", _components(findings),
        "## Layers", _layers(findings),
        "## Prompts at the ends", *_ends(findings, links),
        "## Settings", _settings(findings),
    ]) + "\n"  # fmt: skip


def _components(findings: PredictionFindings) -> str:
    rows = sorted(findings.components, key=lambda row: -abs(row.share))
    heads = ["", "share", "interval", "control", "carries", "for the answer in", "at the last token"]
    body = [
        [name_of(row), f"{row.share:+.2%}", _interval(row.low, row.high), f"{row.control:.2%}",
         carries_in_words(row), f"{row.positive:.0%}", _percent(row.at_last)]
        for row in rows[:_LISTED]
    ]  # fmt: skip
    rest = len(rows) - _LISTED
    more = f"\n\nThe {_LISTED} largest; `components.csv` has {rest} more." if rest > 0 else ""
    return table(heads, body) + more


def _layers(findings: PredictionFindings) -> str:
    of_layer: dict[int, dict[str, str]] = {}
    for row in findings.layers:
        of_layer.setdefault(row.layer, {})[row.kind] = f"{row.share:+.2%} {_interval(row.low, row.high)}"
    kinds = [kind for kind in _CALLED if any(row.kind == kind for row in findings.layers)]
    body = [[str(layer), *(own.get(kind, "–") for kind in kinds)] for layer, own in sorted(of_layer.items())]
    return table(["layer", *(_CALLED[kind] for kind in kinds)], body)


def _interval(low: float, high: float) -> str:
    return "no interval" if np.isnan(low) else f"[{low:+.2%}, {high:+.2%}]"


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.0%}"


def _ends(findings: PredictionFindings, links: Mapping[int, str]) -> list[str]:
    parts = []
    for name, rows in findings.ends.items():
        lines = [_at_end(row, links) for row in rows.to_dict("records")]
        parts += [f"### {name[0].upper()}{name[1:]}", "\n".join(lines) or "None."]
    return parts


def _at_end(row: Mapping[Hashable, Any], links: Mapping[int, str]) -> str:
    where = _called(row["prompt"], row["place"], links)
    return (
        f"- {where}: {plain(_shortened(row['text']))} → {plain(repr(row['question']))}, score "
        f"{row['score']:+.3g}, change {row['change']:+.3g}, certificate {row['certificate']:+.1e}"
    )


def _called(number: int, place: str, links: Mapping[int, str]) -> str:
    where = f"prompt {number} ({plain(place)})"
    return f"[{where}]({links[number]})" if number in links else where


def _shortened(text: str) -> str:
    """The end of a text, where its answer follows; what is left out is said."""
    return text if len(text) <= 160 else f"(… {len(text) - 160} letters) {text[-160:]}"


def _settings(findings: PredictionFindings) -> str:
    manifest = findings.run.manifest
    known = {
        "corpus": manifest["corpus"].get("source"), **manifest["settings"],
        "model": manifest["model"]["name"], "weights": manifest["model"]["fingerprint"][:12],
        "draws": findings.draws, "ligflow": manifest["ligflow"], **manifest["versions"],
    }  # fmt: skip
    bad = manifest["corpus"]["bad_lines"]
    listed = [f"- {plain(str(name))}: {plain(str(value))}" for name, value in known.items()]
    listed += [f"- malformed lines that were skipped: {bad}"] if bad else []
    return "\n".join(listed)
