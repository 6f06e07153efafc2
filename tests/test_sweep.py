"""The sweep over all model types: a sample gets its recorded verdicts; the record, its page, the rules."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transformers
from transformers import LlamaConfig, Qwen2VLConfig

from sweep import record, run, verdicts
from sweep.page import blocks
from sweep.record import Stacks
from sweep.shrink import shrink
from sweep.verdicts import _class_and_settings, _line, _parts, build, verdict_of

SAMPLE = (
    "bert", "bloom", "clip_text_model", "llama", "mixtral", "qwen2_vl_text", "resnet", "siglip2_vision_model",
    "t5", "whisper",
)  # fmt: skip
PASSES: Stacks = {"": {"verdict": "passes", "why": ""}}


def test_a_sample_gets_what_is_recorded() -> None:
    done = subprocess.run(
        [sys.executable, run.__file__, *SAMPLE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    recorded = record.read(run.RECORD)
    for name in SAMPLE:
        for stack, one in recorded[name].items():
            line = f"  {name}  {stack}  {one['verdict']}  {one['why']}".rstrip()
            assert any(found.endswith(line) for found in done.stdout.splitlines()), line


def test_a_part_that_was_checked_is_not_checked_again_where_it_is_a_type_of_its_own() -> None:
    assert sorted(["bert", "clip_text_model", "clip"], key=run._is_alone) == [
        "clip",
        "bert",
        "clip_text_model",
    ]
    known: Stacks = {"": {"verdict": "passes", "why": "as a part"}}
    towers = [part for name, part in _parts(build("clip")) if name == "text_model: "]
    before = {_class_and_settings(tower): known for tower in towers}
    assert verdict_of("clip_text_model", before) == (known, before)
    own, by_part = verdict_of("clip_text_model", {"another": known})
    assert (own[""]["verdict"], own[""]["why"]) == ("passes", "")
    assert by_part.keys() == before.keys()


def test_a_part_that_failed_is_checked_again_as_a_type_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """With other random weights it may pass."""
    for verdict, count in (("passes", 1), ("z2z", 1), ("uncertified", 0), ("not run", 0)):
        monkeypatch.setattr(verdicts, "_of_part", lambda _, verdict=verdict: [("", {"verdict": verdict})])
        assert len(verdict_of("clip_text_model", {})[1]) == count


def test_the_page_is_that_of_the_record() -> None:
    text = run.PAGE.read_text(encoding="utf-8")
    for block in blocks(record.read(run.RECORD), record.version(run.RECORD)).values():
        assert block in text


@pytest.mark.skipif(
    record.version(run.RECORD) != transformers.__version__,
    reason=f"the record is of transformers {record.version(run.RECORD)}; bring it up to date: make sweep",
)
def test_every_registered_type_is_in_the_record() -> None:
    assert set(record.read(run.RECORD)) == set(run.CONFIG_MAPPING_NAMES)


def test_the_record_names_no_file_of_the_machine_that_made_it() -> None:
    assert "site-packages" not in run.RECORD.read_text(encoding="utf-8")
    assert _line("no X in <module 'a.b' from '/home/me/a/b.py'>") == "no X in <module 'a.b'>"


def test_types_without_all_routes_are_counted_apart() -> None:
    conv = "the output of a token depends on other tokens outside its attention"
    verdicts = {
        "bert": ("passes", ""),
        "sam": ("z2z", "Block calls attention 3 times"),
        "lasr": ("z2z", conv),
    }
    verdicts["informer"] = ("z2z", "its keys and values come from another layer")
    types = {name: {"": {"verdict": of, "why": why, "off": False}} for name, (of, why) in verdicts.items()}
    (page,) = blocks(types, "5.0").values()
    assert "In 2 types some stack has no such routes" in page
    assert "of the 2 others 1 (50.0%) pass" in page


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Stacks]:
    """What the next sweep finds; its record and page are files of the test."""
    found: dict[str, Stacks] = {}

    def sweep(types: list[str], *_: Any) -> Iterator[tuple[str, Stacks, float]]:
        yield from ((name, found[name], 0.1) for name in types)

    monkeypatch.setattr(run, "sweep", sweep)
    for name in ("RECORD", "PAGE", "PARTIAL"):
        monkeypatch.setattr(run, name, tmp_path / name)
    record.write(run.RECORD, {"bert": PASSES, "llama": {"layers": PASSES[""]}, "resnet": PASSES})
    run.PAGE.write_text("<!-- begin sweep -->\n<!-- end sweep -->\n", encoding="utf-8")
    return found


def test_a_stack_that_passed_and_does_not_any_more_is_named(
    swept: dict[str, Stacks], capsys: pytest.CaptureFixture[str]
) -> None:
    worse = {"verdict": "z2z", "why": "its attention moved"}
    swept |= {
        "bert": PASSES,
        "llama": {"layers": worse},
        "resnet": {"": {"verdict": "unbuilt", "why": "gone"}},
    }
    before = run.RECORD.read_text()
    assert run.main(["bert", "llama", "resnet", "--write"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "LOST llama layers: passes before, z2z now: its attention moved",
        "LOST resnet : passes before, unbuilt now: gone",
    ]
    assert run.RECORD.read_text() == before


def test_losses_can_be_accepted_and_gains_are_written(swept: dict[str, Stacks]) -> None:
    swept |= {"bert": {"": {"verdict": "z2z", "why": "moved"}}, "gpt2": PASSES}
    assert run.main(["bert", "gpt2", "--write", "--accept"]) == 0
    now = record.read(run.RECORD)
    assert list(now) == ["bert", "gpt2", "llama", "resnet"]
    assert record.counted(now) == {"passes": 3, "z2z": 1}
    assert "| bert |  | z2z | moved |" in run.PAGE.read_text()


def test_verdicts_of_two_versions_are_not_mixed(
    swept: dict[str, Stacks], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = transformers.__version__
    swept |= {"gpt2": PASSES}
    monkeypatch.setattr(transformers, "__version__", "99.0")
    assert run.main(["gpt2", "--write"]) == 2
    assert capsys.readouterr().err == f"the record is of transformers {made}; run all types\n"
    assert "gpt2" not in record.read(run.RECORD)


def test_without_write_nothing_is_written(swept: dict[str, Stacks]) -> None:
    swept |= {"gpt2": PASSES}
    assert run.main(["gpt2"]) == 0
    assert "gpt2" not in record.read(run.RECORD)


def test_an_unknown_type_is_refused_with_near_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["lama", "bert"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("no model type 'lama'; near: llama, ")
    assert "bert" not in error.split(";")[0]


def test_a_shrunk_config() -> None:
    small = shrink(LlamaConfig(num_key_value_heads=8).to_dict())
    names = (
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
    )
    assert [small[name] for name in names] == [32, 48, 2, 4, 2]
    assert (small["vocab_size"], small["max_position_embeddings"], small["head_dim"]) == (99, 64, 8)
    assert (small["bos_token_id"], small["eos_token_id"]) == (1, 2)


def test_parts_have_the_exceptions_of_their_own_type() -> None:
    fields = {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1]}}
    small = shrink(Qwen2VLConfig().to_dict(), {"qwen2_vl_text": fields})
    assert small["text_config"]["rope_parameters"] == fields["rope_parameters"]
    assert small["text_config"]["hidden_size"] == 32
    assert small["vision_config"]["embed_dim"] == 32
