import pytest
import torch

from asked_models import gpt2 as asked_gpt2
from asked_models import vit
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
    rows = p.check(tokens=2, heads=8)
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
    assert len(rows) == 10  # every head of both layers, the strongest first
    sizes = [abs(row.relevance) for row in rows[2:]]
    assert sizes == sorted(sizes, reverse=True)
    for row in (rows[2], rows[5], rows[9]):
        ends = (real, other), (other, real)
        removed, added = (_with_head(model, score, *pair, row.layer, row.head) for pair in ends)
        assert row.removed == pytest.approx(score(real) - removed, abs=1e-9)
        assert row.added == pytest.approx(added - score(other), abs=1e-9)
        assert row.mean == pytest.approx((row.removed + row.added) / 2)


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


def test_kept_tokens_stay_and_a_row_of_an_answer_is_checked_by_its_own_score() -> None:
    model, tokenizer = asked_gpt2().model, asked_gpt2().tokenizer
    answer = Explainer(model, tokenizer).explain_answer(
        "The capital of France is", " Paris.", points=3, tol=0.9
    )
    ids, (blank,) = tokenizer("The capital of France is Paris.")["input_ids"], tokenizer(" ")["input_ids"]
    for place, row in enumerate(answer.rows, 5):  # where " Paris" and "." stand
        rows = row.check(tokens=9, heads=0)
        assert {each.position for each in rows} == {1, 2, 3, 4}  # neither the first token nor " Paris"
        for each in rows:
            changed = [blank if at == each.position else number for at, number in enumerate(ids)]
            with torch.no_grad():
                shares = model(torch.tensor([changed])).logits[0, place - 1].log_softmax(-1)
            assert each.removed == pytest.approx(row.value - float(shares[ids[place]]), abs=1e-9)


def test_a_patch_of_an_image_is_replaced_behind_the_token_that_the_model_adds() -> None:
    pixels = torch.randn(1, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    model, score = vit().model, (lambda logits: float(logits[0].log_softmax(-1)[1]))
    p = Explainer(model).explain_prediction({"pixel_values": pixels}, answer=1, points=3, tol=0.9)
    for row in p.check(tokens=9, heads=0):
        even, (top, left) = pixels.clone(), divmod(row.position - 1, 2)
        part = (slice(None), slice(None), slice(4 * top, 4 * top + 4), slice(4 * left, 4 * left + 4))
        even[part] = pixels.mean((2, 3), keepdim=True).expand_as(pixels)[part]
        with torch.no_grad():
            assert row.removed == pytest.approx(p.value - score(model(pixel_values=even).logits), abs=1e-9)


def test_a_layer_that_is_called_again_is_replaced_in_the_call_that_is_named() -> None:
    """ALBERT's layers are one module: a head is replaced in one of its calls alone."""
    family = FAMILIES["albert"]
    model, inputs = family.built(), family.inputs()
    real, other = model.get_input_embeddings()(inputs["input_ids"]), family.references(model)[0][None]
    other[:, 3] = real[:, 3]  # where the model is asked
    options = {"position": 3, "reference": other, "points": 3, "tol": 0.9}
    p = Explainer(model).explain_prediction(inputs, answer=1, **options)
    joined = model.albert.encoder.albert_layer_groups[0].albert_layers[0].attention.dense

    def run(embeddings, change=None) -> tuple[float, list[torch.Tensor]]:
        calls: list[torch.Tensor] = []

        def hook(_module, args):
            calls.append(args[0])
            return change(len(calls) - 1, args[0].clone()) if change else None

        handle = joined.register_forward_pre_hook(hook)
        logits = model(inputs_embeds=embeddings, token_type_ids=torch.zeros_like(inputs["input_ids"])).logits
        handle.remove()
        return float(logits[0, 3].log_softmax(-1)[1]), calls

    value, _ = run(real)
    heads = run(other)[1]
    width = heads[0].shape[-1] // model.config.num_attention_heads
    rows = p.check(tokens=0, heads=4)
    assert len({row.layer for row in rows}) > 1
    for row in rows:
        own = slice(row.head * width, (row.head + 1) * width)

        def replaced(call, states, row=row, own=own):
            if call == row.layer:
                states[..., own] = heads[call][..., own]
            return (states,)

        assert row.removed == pytest.approx(value - run(real, replaced)[0], abs=1e-9)


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
