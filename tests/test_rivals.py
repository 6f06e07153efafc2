"""What rivals of the whole-model benchmark compute here, on tiny models, against brute force."""

import dataclasses
import importlib
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import networkx
import pytest
import torch
import transformers
from transformers.models.gemma3 import modeling_gemma3

from ligflow import Explainer, Passages
from ligflow.evaluation.norm_based_attention import norm_based

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
FOLDERS = (BENCHMARKS, BENCHMARKS / "workers")
IDS = [3, 7, 5, 9, 4]
SIZES: dict[str, Any] = {
    "vocab_size": 16, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2,
    "num_attention_heads": 2, "max_position_embeddings": 32,
}  # fmt: skip

pytestmark = [
    pytest.mark.usefixtures("no_shape_checks"),
    pytest.mark.filterwarnings("ignore:Setting forward, backward hooks:UserWarning"),
]


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Imports scripts of the benchmarks, which leave no trace among the imported modules."""
    names = [path.stem for folder in FOLDERS for path in folder.glob("*.py")]
    for folder in FOLDERS:
        monkeypatch.syspath_prepend(str(folder))
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)


def decoder() -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**SIZES, num_key_value_heads=1, initializer_range=0.5)
    config._attn_implementation = "eager"
    return transformers.LlamaForCausalLM(config).double().eval().requires_grad_(False)


def encoder() -> Any:
    torch.manual_seed(0)
    config = transformers.BertConfig(**SIZES, initializer_range=0.5, attn_implementation="eager")
    return transformers.BertModel(config, add_pooling_layer=False).double().eval().requires_grad_(False)


def asked(scripts: Any, other: list[int] | None = None) -> Any:
    kept = [True, False, False, False, False]
    return scripts("question_file").Question("t-1", "facts", IDS, ["a"] * 5, 6, 1, kept, other=other)


def value(model: Any, question: Any, ids: list[int]) -> float:
    """The question's number through the model as it is, from token ids."""

    def outputs(of: list[int]) -> Any:
        return model(input_ids=torch.tensor([of]))

    if question.other is None:
        return float(outputs(ids).logits[0, -1].log_softmax(-1)[question.target])
    own, other = (outputs(of).last_hidden_state[0].mean(0) for of in (ids, question.other))
    return float(torch.cosine_similarity(own, other, dim=0))


@pytest.mark.parametrize(("make", "other"), [(decoder, None), (encoder, [3, 8, 4])])
def test_leave_one_out_and_integrated_gradients(scripts: Any, make: Any, other: list[int] | None) -> None:
    captum_worker, model, question = scripts("of_captum"), make(), asked(scripts, other)
    whole = value(model, question, IDS)
    lost = [whole - value(model, question, [*IDS[:k], 1, *IDS[k + 1 :]]) for k in range(1, 5)]
    found = captum_worker.feature_ablation(model, question)[0]
    torch.testing.assert_close(
        found.double(), torch.tensor([0.0, *lost], dtype=torch.float64), atol=1e-5, rtol=1e-4
    )
    summed = float(captum_worker.integrated_gradients(model, question).sum())
    assert summed == pytest.approx(whole - value(model, question, [IDS[0], 1, 1, 1, 1]), abs=5e-3)
    gradient = captum_worker.gradient_times_input(model, question)[0]
    start = model.get_input_embeddings()(torch.tensor([[IDS[0], 1, 1, 1, 1]]))
    own = model.get_input_embeddings()(torch.tensor([IDS]))
    lifted = captum_worker.deeplift(model, question)[0]
    assert float(lifted[0].detach()) == pytest.approx(0, abs=1e-12)
    by_hand = torch.autograd.grad(scripts("worker").score(model, question)(own.requires_grad_()), own)[0]
    torch.testing.assert_close(
        lifted.detach(), (by_hand * (own - start)).sum(-1)[0].detach(), atol=1e-6, rtol=1e-5
    )
    score, step = scripts("worker").score(model, question), 5e-3  # norms are in float32
    for token in range(5):
        ends = []
        for way in (1 + step, 1 - step):
            embedded = model.get_input_embeddings()(torch.tensor([IDS])).clone()
            embedded[0, token] *= way
            ends.append(float(score(embedded)))
        slope = (ends[0] - ends[1]) / (2 * step)
        assert slope == pytest.approx(float(gradient[token].detach()), abs=2e-3)


def test_a_discretised_path_goes_by_words_and_never_back(scripts: Any) -> None:
    """Its words by hand, one token at a time; every point lies between the one before it and the token."""
    path_of, steps, neighbours = scripts("discretised_path").discretised_path, 4, 6
    table = torch.randn(16, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    own, reference = torch.tensor([3, 7, 1]), torch.tensor([1, 1, 1])
    points = path_of(table, own, reference, steps, neighbours)
    for token, start in enumerate(own.tolist()):
        goal, words, by_hand = table[1], [start], [table[start]]

        def held(point: Any, last: Any, goal: Any = goal) -> Any:
            pairs = zip(point, last, goal, strict=True)
            moved = [p if min(a, b) <= p <= max(a, b) else a + (b - a) / steps for p, a, b in pairs]
            return torch.stack(moved)

        for _ in range(steps):
            last = table[words[-1]]
            near = sorted(set(range(16)) - {words[-1]}, key=lambda word: float((table[word] - last).norm()))
            free = [word for word in near[:neighbours] if word not in {*words, 1}]
            ways = {word: float((table[word] - held(table[word], last)).norm()) for word in free}
            words.append(1 if words[-1] == 1 or not ways else min(ways, key=lambda word: ways[word]))
            by_hand.append(held(table[words[-1]], by_hand[-1]))
        torch.testing.assert_close(points[:, token], torch.stack([*by_hand, goal]).flip(0))
    ways = points.diff(dim=0)
    assert (ways * (table[own] - table[1]) >= 0).all()
    assert len({tuple(point) for point in points[:, 0].tolist()}) > 3
    torch.testing.assert_close(points[:, 2], table[1].expand(steps + 2, 3))


def test_discretised_integrated_gradients_of_a_linear_score(
    scripts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradient x (input - neutral) whatever the path, of the embeddings as Gemma multiplies them."""
    worker, own_worker, question = scripts("of_discretised_ig"), scripts("worker"), asked(scripts)
    torch.manual_seed(0)
    words = modeling_gemma3.Gemma3TextScaledWordEmbedding(16, 8, 0, embed_scale=3.0).double()
    weights = torch.randn(5, 8, dtype=torch.float64)
    monkeypatch.setattr(own_worker, "score", lambda *_: lambda embedded: (embedded * weights).sum((1, 2)))
    by = worker.worded(SimpleNamespace(get_input_embeddings=lambda: words))
    torch.testing.assert_close(by.table, 3 * words.weight.detach())
    start = by.table[[IDS[0], 1, 1, 1, 1]]
    found = worker.discretised_integrated_gradients(by, question)
    torch.testing.assert_close(found, (weights * (by.table[IDS] - start)).sum(-1))


def test_discretised_integrated_gradients_of_a_model(scripts: Any) -> None:
    """The gradient at each point times the way to the next, one point at a time."""
    worker, model, question = scripts("of_discretised_ig"), decoder(), asked(scripts)
    by, start = worker.worded(model), torch.tensor([IDS[0], 1, 1, 1, 1])
    points = scripts("discretised_path").discretised_path(by.table, torch.tensor(IDS), start)
    expected = torch.zeros(5, dtype=torch.float64)
    for here, there in itertools.pairwise(points):
        embedded = here[None].clone().requires_grad_()
        said = model(inputs_embeds=embedded).logits[0, -1].log_softmax(-1)[question.target]
        expected += (torch.autograd.grad(said, embedded)[0][0] * (there - here)).sum(-1)
    found = worker.discretised_integrated_gradients(by, question)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert found[0] == 0


def test_an_answer_of_several_tokens(scripts: Any) -> None:
    """Its score is the sum of what the model says of each, at the position before it."""
    worker, model = scripts("worker"), decoder()
    question = dataclasses.replace(asked(scripts), answer=[5, 9, 4, 6])
    logits = model(torch.tensor([IDS])).logits[0, 1:]
    embedded = worker.embeddings(model, IDS)
    for of, values in ((worker.score, logits.log_softmax(-1)), (worker.logit, logits)):
        by_hand = sum(values[place, token] for place, token in enumerate([5, 9, 4, 6]))
        torch.testing.assert_close(of(model, question)(embedded)[0], by_hand)
    maps = model(torch.tensor([IDS]), output_attentions=True).attentions
    read = scripts("of_attention").last_attention(model, question)
    torch.testing.assert_close(read, maps[-1][0].mean(0)[1:].mean(0))


def test_contextcite_is_asked_in_our_words(scripts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passages that go take their numbers with them; a run is remembered, and its seconds count again."""
    for name in ("nltk", "context_cite", "context_cite.context_partitioner"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["context_cite"].ContextCiter = object  # type: ignore[attr-defined]
    base = type(
        "BaseContextPartitioner", (), {"__init__": lambda self, context: setattr(self, "context", context)}
    )
    sys.modules["context_cite.context_partitioner"].BaseContextPartitioner = base  # type: ignore[attr-defined]
    worker = scripts("of_contextcite")
    passages = ["The mill is old.", "The mill is red.", "The mill is shut."]
    parted = worker.PassagePartitioner(passages)
    whole = worker.TEMPLATE.format(context=parted.get_context(), query="What colour?")
    assert whole == Passages("What colour?", passages).message
    assert parted.get_context([True, False, True]) == whole[
        whole.index("\nPassage 1") : whole.index("\nQ")
    ].replace("\nPassage 2: The mill is red.\n", "")
    model = decoder()
    remembered = worker.Remembered(model, 2)
    first, again = (remembered(input_ids=torch.tensor([IDS])).logits for _ in range(2))
    torch.testing.assert_close(first, model(torch.tensor([IDS])).logits[:, -3:])
    assert first is again
    calls, seconds = remembered.counted()
    assert (calls, seconds) == (2, 2 * remembered.took[tuple(IDS)])
    assert remembered.counted() == (0, 0)


def test_flow_is_the_largest_that_a_graph_library_finds(scripts: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    maps = torch.rand(3, 4, 4, generator=generator, dtype=torch.float64).tril() / 2
    found = scripts("attention_flow").attention_flow(maps, 3)
    graph = networkx.DiGraph()
    for layer, target, source in maps.nonzero().tolist():
        graph.add_edge((layer + 1, target), (layer, source), capacity=float(maps[layer, target, source]))
    expected = [networkx.maximum_flow_value(graph, (3, 3), (0, source)) for source in range(4)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0)


def test_attention_by_the_model_s_own_weights(scripts: Any) -> None:
    worker, model, question = scripts("of_attention"), decoder(), asked(scripts)
    maps = [layer[0] for layer in model(torch.tensor([IDS]), output_attentions=True).attentions]
    half = [(layer.mean(0) + torch.eye(5)) / 2 for layer in maps]
    torch.testing.assert_close(worker.mean_attention(model, question), torch.stack(maps).mean((0, 1))[-1])
    torch.testing.assert_close(worker.last_attention(model, question), maps[1].mean(0)[-1])
    torch.testing.assert_close(worker.by_rollout(model, question), (half[1] @ half[0])[-1])
    rolled = worker.rollout_of(norm_based, True, Explainer(model), question)
    written = []
    for layer, attention in zip(model.model.layers, maps, strict=True):
        inner = layer.self_attn
        with torch.no_grad():
            hidden = layer.input_layernorm(written_input(model, len(written)))
            values = inner.v_proj(hidden)[0].expand(2, 5, 4)
            by_head = inner.o_proj.weight.unflatten(1, (2, 4))
            sizes = torch.einsum("hjk,hkd,ohd->jko", attention, values, by_head).norm(dim=-1)
        written.append((sizes / sizes.sum(-1, keepdim=True) + torch.eye(5)) / 2)
    torch.testing.assert_close(rolled, (written[1] @ written[0])[-1])
    of_encoder = asked(scripts, [3, 8, 4])
    torch.testing.assert_close(
        worker.mean_attention(encoder(), of_encoder),
        torch.stack(
            [layer[0] for layer in encoder()(torch.tensor([IDS]), output_attentions=True).attentions]
        ).mean((0, 1, 2)),
    )


def written_input(model: Any, layer: int) -> torch.Tensor:
    return model(torch.tensor([IDS]), output_hidden_states=True).hidden_states[layer]


def test_a_worker_goes_on_and_leaves_out_tuning_questions(
    scripts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, rivals = scripts("of_attention"), scripts("rivals")
    weights, folder = tmp_path / "weights" / "tiny", tmp_path / "tiny"
    decoder().float().save_pretrained(weights)
    rows = [asked(scripts).__dict__ | {"name": f"facts-{number:03}"} for number in (0, 1, 2, 3)]
    folder.mkdir()
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rivals.write_outputs(weights)
    answers = folder / "relevances" / "last-attention.jsonl"
    for count, names in (("1", ["facts-001"]), ("3", ["facts-001", "facts-002", "facts-003"])):
        monkeypatch.setattr(sys, "argv", ["worker", str(folder), str(weights), "last-attention", count])
        scripts("worker").work(worker.RIVALS, "ligflow", "0")
        lines = [json.loads(line) for line in answers.read_text().splitlines()]
        assert [line["name"] for line in lines] == names
        answers.write_text(
            answers.read_text() + '{"name": "fac'
        )  # as if it was ended in the middle of a line
    assert sum(lines[0]["relevance"]) == pytest.approx(1, abs=1e-5)
    assert lines[0]["seconds"] > 0
    about = json.loads(answers.with_suffix(".json").read_text())
    assert set(about) == {"method", "package", "version", "settings", "source"}
    recorded = json.loads((weights / "outputs.json").read_text())
    recorded["values"][0] += 1
    (weights / "outputs.json").write_text(json.dumps(recorded))
    with pytest.raises(SystemExit, match="another in this environment"):
        scripts("worker").agrees(scripts("worker").loaded(weights), weights)


@pytest.mark.parametrize(
    ("make", "only", "others"),
    [
        (decoder, None, {"occlusion", "value-zeroing"}),
        (decoder, "sequential-ig", {"sequential-ig"}),
        (encoder, None, set()),
        (encoder, "sequential-ig", set()),
    ],
)
def test_methods_for_decoders_and_those_that_are_named(
    scripts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any, only: Any, others: set[str]
) -> None:
    rivals, weights, folder = scripts("rivals"), tmp_path / "weights" / "tiny", tmp_path / "tiny"
    make().float().save_pretrained(weights)
    folder.mkdir()
    (folder / "questions.jsonl").touch()
    ran: list[str] = []
    monkeypatch.setattr(rivals, "run", lambda _name, _package, arguments: ran.append(arguments[2]))
    rivals.main(folder, only)
    assert set(ran) == others | (set() if only else set(rivals.METHODS) - {"occlusion", "value-zeroing"})
    with pytest.raises(SystemExit, match=r"No methods: x; there are .*sequential-ig"):
        rivals.main(folder, "x")


def test_patches_of_nodes_and_gradients(scripts: Any) -> None:
    """The last MLP's patch by hand, past which there is one norm and a matrix; a head's by other weights."""
    nodes, worker, model, other = scripts("nodes"), asked(scripts), decoder(), [3, 8, 5, 9, 4]
    question = dataclasses.replace(worker, contrast=2, counterfactual=other)
    explainer = Explainer(model)
    effects = nodes.patched(explainer, question)
    last, embed = model.model.layers[-1], model.get_input_embeddings()

    def parts(ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        taken = {}
        with nodes.hooked(
            last.post_attention_layernorm.register_forward_pre_hook(lambda _, args: taken.update(x=args[0]))
        ):
            model(inputs_embeds=embed(torch.tensor([ids])))
        return taken["x"], last.mlp(last.post_attention_layernorm(taken["x"]))

    def gap(stream: torch.Tensor) -> float:
        logits = model.lm_head(model.model.norm(stream))[0, -1]
        return float(logits[6] - logits[2])

    (own, written), (instead, other_written) = parts(IDS), parts(other)
    removed = gap(own + written) - gap(own + other_written)
    restored = gap(instead + written) - gap(instead + other_written)
    found = [float(effects[effect][1][-1]) for effect in nodes.EFFECTS]
    assert found == pytest.approx([removed, restored, (removed + restored) / 2], abs=1e-6)
    scores = nodes.scores(explainer, question)
    step = 1e-3
    slope = (gap(own + written) - gap(own + written + step * (other_written - written))) / step
    assert float(scores["gradient, real run"][1][-1]) == pytest.approx(slope, rel=2e-2, abs=1e-4)
    assert {name: [len(part) for part in values] for name, values in scores.items()} == {
        name: [4, 2] for name in nodes.METHODS
    }
    heads = effects["out of the real run"][0]
    assert len(heads) == 4
    assert abs(heads[2:]).max() > 0


def test_the_table_of_nodes_pairs_two_methods(scripts: Any) -> None:
    nodes = scripts("nodes")
    names = [f"{kind}/{method}/{effect}" for kind in ("heads", "MLPs") for method in nodes.METHODS
             for effect in nodes.EFFECTS]  # fmt: skip
    answers = [dict.fromkeys(names, 0.5) | {"heads/relevance/mean of both": 0.1}] * 2
    rows = {(row["nodes"], row["method"]): row for row in nodes.table(answers)}
    assert rows["heads", nodes.LESS]["mean of both"] == "0.40"
    assert rows["MLPs", nodes.LESS]["mean of both"] == "0.00"
    assert {row["prompts"] for row in rows.values()} == {2}
