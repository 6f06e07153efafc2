"""A control of which heads carry a task: the same prompts, asked about the answers of other ones."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from inducing import LENGTH, WORDS, inducing
from ligflow.corpus.analysis.component_shares import ComponentShare, component_draws, component_shares
from ligflow.corpus.sources.prompt import Prompt
from ligflow.corpus.tables.prompt_settings import PromptSettings
from small_prompts import run_on

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_shape_checks")]
COUNT = 40


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a model that says what followed a word when that comes again."""
    folder = tmp_path_factory.mktemp("inducing")
    known = ["<unk>", "<s>", "</s>", *(f"w{number}" for number in range(3, WORDS))]
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(known)}, "<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    inducing().model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", unk_token="<unk>").save_pretrained(
        folder
    )
    return str(folder)


def prompts() -> tuple[Prompt, ...]:
    """Ten words and one of them again; the answer is what followed it, the contrast another of the ten."""
    draw = torch.Generator().manual_seed(1)
    made = []
    for number in range(COUNT):
        row = [f"w{3 + int(word)}" for word in torch.randperm(WORDS - 3, generator=draw)[:LENGTH]]
        at = int(torch.randint(0, LENGTH - 3, (1,), generator=draw))
        text = " ".join([*row, row[at]])
        made.append(Prompt(number, text, f"made:{number + 1}", answer=row[at + 1], contrast=row[at + 3]))
    return tuple(made)


def heads(model: str, folder: Path, asked: tuple[Prompt, ...]) -> dict[int, ComponentShare]:
    """The head of each layer."""
    whole = run_on(model, folder, asked, settings=PromptSettings(tol=1e-2), shard_size=COUNT)
    assert whole.left_out(0) == 0
    rows = component_shares(component_draws(whole, 400))
    return {row.layer: row for row in rows if row.kind == "head"}


def test_heads_that_carry_a_task_do_not_carry_the_answers_of_other_prompts(
    model: str, tmp_path: Path
) -> None:
    own = prompts()
    shifted = (*own[1:], own[0])
    permuted = tuple(
        replace(prompt, answer=other.answer, contrast=other.contrast)
        for prompt, other in zip(own, shifted, strict=True)
    )
    of_task, of_others = heads(model, tmp_path / "own", own), heads(model, tmp_path / "others", permuted)
    assert of_task[1].low > 0
    assert of_task[1].carries
    assert not any(row.carries for row in of_others.values())
    assert of_others[1].low < 0 < of_others[1].high
    assert abs(of_others[1].share) < of_task[1].share / 5
