import pytest
import torch

from ligflow import Explainer, LigflowError
from ligflow.layer.float64 import keep_double
from prediction.oracle import forward, held
from prediction.oracle_families import FAMILIES
from prediction.tiny import gpt2, ids


def test_what_replacing_a_word_or_a_head_does_is_what_the_model_itself_says() -> None:
    model, tokens = gpt2(), ids(4)
    inputs = {"input_ids": tokens}
    reference = torch.full((4,), 2)
    p = Explainer(model).explain_prediction(inputs, answer=7, reference=reference, on=[1, 2, 3])
    rows = p.check(tokens=2, heads=1)
    table = model.get_input_embeddings()
    with torch.no_grad():
        real, other = table(tokens), table(reference[None])
    other = torch.cat([real[:, :1], other[:, 1:]], 1)

    def score(embeddings) -> float:
        with torch.no_grad():
            return float(model(inputs_embeds=embeddings).logits[0, -1].log_softmax(-1)[7])

    for row in rows[:2]:
        removed, added = real.clone(), other.clone()
        removed[:, row.position], added[:, row.position] = other[:, row.position], real[:, row.position]
        assert row.removed == pytest.approx(score(real) - score(removed), abs=1e-9)
        assert row.added == pytest.approx(score(added) - score(other), abs=1e-9)
        assert row.relevance == pytest.approx(float(p.relevance[row.position]))
    head = rows[2]
    assert head.removed == pytest.approx(
        score(real) - _with_head(model, score, real, other, head.layer, head.head), abs=1e-9
    )


def _with_head(model, score, real, other, layer: int, head: int) -> float:
    """The score of the real run in which one head gives what it gives in the other run."""
    module, kept = model.transformer.h[layer].attn.c_proj, []
    width = real.shape[-1] // model.config.n_head
    handle = module.register_forward_pre_hook(lambda _m, args: kept.append(args[0].clone()))
    score(other)
    handle.remove()

    def replaced(_module, args):
        joined = args[0].clone()
        joined[..., head * width : (head + 1) * width] = kept[0][..., head * width : (head + 1) * width]
        return (joined,)

    handle = module.register_forward_pre_hook(replaced)
    value = score(real)
    handle.remove()
    return value


def test_an_explanation_from_a_file_cannot_run_the_model(tmp_path) -> None:
    p = Explainer(gpt2()).explain_prediction({"input_ids": ids(3)}, answer=7, reference=torch.full((3,), 2))
    loaded = type(p).load(p.save(tmp_path / "p.safetensors"))
    with pytest.raises(LigflowError, match="comes from a file"):
        loaded.check()
    with pytest.raises(LigflowError, match="whole number from 0"):
        p.check(tokens=-1)


def test_experts_that_were_held_are_held_where_words_are_replaced() -> None:
    family = FAMILIES["mixtral"]
    model, inputs, start = family.built(), family.inputs(), family.references(family.built())[0]
    p = Explainer(model).explain_prediction(inputs, answer=1, reference=start, experts="held", edges=())
    (row,) = p.check(tokens=1, heads=0)
    program, real = family.cuts(model), model.get_input_embeddings()(inputs["input_ids"])
    removed, added = real.clone(), start[None].clone()
    removed[:, row.position], added[:, row.position] = start[row.position], real[:, row.position]
    place = program.variables["embeddings"].entry
    with keep_double(), held(model, program, inputs):
        scores = [
            float(forward(model, inputs, family.score(), {place: each}, [])[0])
            for each in (real, removed, added, start[None])
        ]
    assert row.removed == pytest.approx(scores[0] - scores[1], abs=1e-9)
    assert row.added == pytest.approx(scores[2] - scores[3], abs=1e-9)


def test_held_attention_is_not_checked() -> None:
    reference = torch.full((4,), 2)
    p = Explainer(gpt2()).explain_prediction(
        {"input_ids": ids(4)}, answer=7, reference=reference, attention="held", edges=()
    )
    with pytest.raises(LigflowError, match="attention='moved'"):
        p.check()
