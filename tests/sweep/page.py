"""The part of docs/reference/models.md that the sweep writes: counts, and a table with a row a stack."""

from collections import Counter
from collections.abc import Iterator, Mapping

from sweep.record import VERDICTS, Stacks, Verdict, counted

_LONGEST = 160  # characters of a reason
# Why `z2u` and `u2z` do not exist; layers with `sinks` (Inkling 2) have several attentions and convolutions.
_NO_ROUTES = ("other tokens outside its attention", "calls attention ", "attention argument 'sinks'")
_ROUTES = {"passes": "z2u u2z z2z", "partly": "z2u u2z z2z, in part", "z2z": "z2z"}
_MEANING = {
    "passes": "every layer gives all routes, and all checks pass",
    "partly": "some layers give all routes, the others (with no attention, or for the reason given) `z2z`; "
    "all checks pass",
    "z2z": "`z2z` alone, and all its checks pass",
    "refused": "ligflow says why it does not explain it",
    "uncertified": "a certificate misses its limit, as it should where a layer jumps; all other checks pass",
    "failed": "a check fails",
    "not run": "the inputs or the config that the sweep makes up do not suit it; ligflow was not asked",
    "unbuilt": "no model was made, see below",
}


def blocks(types: Mapping[str, Stacks], version: str) -> dict[str, str]:
    """The block of the page, by its name, from what a version of transformers has."""
    parts = (_counts(types, version), _table("not run", types), _unbuilt(types))
    return {"sweep": "\n\n".join(parts)}


def _counts(types: Mapping[str, Stacks], version: str) -> str:
    """The share that counts, and how many stacks have each verdict."""
    rows = [f"| {name} | {count} | {_MEANING[name]} |" for name, count in counted(types).items()]
    return "\n".join([_share(types, version), "", "| verdict | stacks | meaning |", "|---|---|---|", *rows])


def _share(types: Mapping[str, Stacks], version: str) -> str:
    best, beside = (Counter(_worst(one, at) for one in types.values()) for at in (False, True))
    whole, more = (sum(of[name] for name in ("passes", "partly", "other")) for of in (best, beside))
    held = sum(any(one.get("experts") == "frozen" for one in stacks.values()) for stacks in types.values())
    share = best["passes"] / max(whole, 1)
    exist = whole - sum(_worst(one, False) == "other" and _has_no_routes(one) for one in types.values())
    attending = best["passes"] + best["partly"]
    return (
        f"{len(types)} model types of transformers {version}. Of {whole} whose tiny model "
        f"was built and run and whose attention goes through the interface, {best['passes']} ({share:.1%}) "
        f"pass all three routes in every stack that was run ({held} of all hold their experts); "
        f"{best['partly']} pass in the layers that have attention; {best['other']} are refused or fail in "
        "some stack, with the reason in the table. A type is counted once, by its worst stack. In "
        f"{whole - exist} types some stack has no such routes, since tokens meet outside attention or layers "
        f"have several attentions to several things; of the {exist} others {attending} "
        f"({attending / max(exist, 1):.1%}) pass in every layer that attends. Off the "
        f"interface, the attention of {more} types is seen at its softmax; {beside['passes']} of them pass "
        "all three routes in every such stack."
    )


def _worst(stacks: Stacks, at_softmax: bool) -> str:
    """The worst verdict of a type's stacks with attention on the interface, or of those where it is not."""
    attending = [one for one in stacks.values() if _attends(one)]
    found = {_kind(one) for one in attending if one.get("at_softmax", False) == at_softmax}
    if not found:
        return "outside"
    return next((one for one in ("passes", "partly") if found <= {"passes", one}), "other")


def _has_no_routes(stacks: Stacks) -> bool:
    """Whether a stack with attention on the interface has `z2z` alone, since no more exists."""
    seen = [one for one in stacks.values() if _attends(one) and not one.get("at_softmax", False)]
    return any(one["verdict"] == "z2z" and any(why in one["why"] for why in _NO_ROUTES) for one in seen)


def _kind(one: Verdict) -> str:
    """The verdict; those are only partly split whose other layers have no attention."""
    whole: str = one["verdict"]
    attend = any(not why.endswith("makes no attention call") for why in one["why"].split("; "))
    return "other" if whole == "partly" and attend else whole


def _attends(one: Verdict) -> bool:
    """Whether attention of the stack was seen."""
    return one["verdict"] in ("passes", "partly", "uncertified", "failed", "z2z", "refused") and not one.get(
        "off", True
    )


def _table(last: str, types: Mapping[str, Stacks]) -> str:
    """A row for each stack with a verdict from the first to `last`."""
    wanted = VERDICTS[: VERDICTS.index(last) + 1]
    rows = (
        f"| {name} | {_stack(stack)} | {_routes(one)} | {_why(one)} |"
        for name in sorted(types)
        for stack, one in sorted(types[name].items())
        if one["verdict"] in wanted
    )
    return "\n".join(["| type | stack | routes | why |", "|---|---|---|---|", *rows])


def _stack(name: str) -> str:
    return f"`{name.removesuffix(': ')}`" if name else ""


def _routes(one: Verdict) -> str:
    verdict: str = one["verdict"]
    routes = _ROUTES.get(verdict, verdict)
    return f"{routes}, experts held" if one.get("experts") == "frozen" else routes


def _why(one: Verdict) -> str:
    """The error's own words; what Markdown would take for markup is shown as it is."""
    why: str = one["why"] if len(one["why"]) <= _LONGEST else f"{one['why'][:_LONGEST].rsplit(' ', 1)[0]} ..."
    for sign in "\\`*_[]<>|":
        why = why.replace(sign, f"\\{sign}")
    return why


def _unbuilt(types: Mapping[str, Stacks]) -> str:
    """The types without a model, by reason."""
    by_reason: dict[str, list[str]] = {}
    for name in sorted(types):
        for one in types[name].values():
            if one["verdict"] == "unbuilt":
                by_reason.setdefault(_why(one), []).append(name)
    return "\n".join(["No model was made of these:", "", *_lines(by_reason)])


def _lines(by_reason: Mapping[str, list[str]]) -> Iterator[str]:
    for reason, names in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        yield f"- {reason}: {', '.join(name.replace('_', chr(92) + '_') for name in names)}"
