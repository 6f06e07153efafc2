"""What ligflow runs in a model's place: the same numbers, and nothing that the model's other users see."""

import functools
import threading
import types
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel, MixtralConfig, MixtralModel

from ligflow import Explainer, attribute_layer
from ligflow.devices.private_copy import private_copy
from ligflow.explainer.fingerprint import Structure

SMALL: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "vocab_size": 40, "num_key_value_heads": 2,
}  # fmt: skip
IDS = {"input_ids": torch.tensor([[3, 7, 11, 19]])}
MODELS: dict[str, Callable[[], Any]] = {
    "bert": lambda: BertModel(BertConfig(**SMALL)).eval(),
    "llama": lambda: LlamaModel(LlamaConfig(**SMALL)).eval(),
    "mixtral": lambda: MixtralModel(MixtralConfig(**SMALL, num_local_experts=3)).eval(),
}


def llama() -> Any:
    torch.manual_seed(0)
    return MODELS["llama"]()


def output(model: Any) -> Tensor:
    with torch.no_grad():
        return model(**IDS, use_cache=False)[0]


def halved(own: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    first, *others = own(*args, **kwargs)
    return (first / 2, *others)


def with_closure(attention: nn.Module) -> None:
    own = attention.forward
    attention.forward = lambda *args, **kwargs: halved(own, *args, **kwargs)


def with_partial(attention: nn.Module) -> None:
    attention.forward = functools.partial(halved, attention.forward)


def with_default(attention: nn.Module) -> None:
    def forward(self: nn.Module, *args: Any, own: Any = attention.forward, **kwargs: Any) -> Any:
        return halved(own, *args, **kwargs)

    attention.forward = types.MethodType(forward, attention)


def with_list(attention: nn.Module) -> None:
    table = {"own": [attention.forward]}
    attention.forward = lambda *args, **kwargs: halved(table["own"][0], *args, **kwargs)


class Halved:
    """A callable object that holds what it calls."""

    def __init__(self, own: Callable[..., Any]) -> None:
        self.own = own

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return halved(self.own, *args, **kwargs)


def with_object(attention: nn.Module) -> None:
    attention.forward = Halved(attention.forward)


def with_itself(attention: nn.Module) -> None:
    """Functions and containers that hold themselves."""
    table: dict[str, Any] = {"own": attention.forward}
    table["all"] = table

    def forward(*args: Any, deep: int = 1, **kwargs: Any) -> Any:
        known = table["all"]["own"]
        return forward(*args, deep=deep - 1, **kwargs) if deep else halved(known, *args, **kwargs)

    attention.forward = forward


def with_weak_reference(attention: nn.Module) -> None:
    whole, own = weakref.ref(attention), type(attention).forward
    attention.forward = lambda *args, **kwargs: halved(own, whole(), *args, **kwargs)


def with_named_parts(attention: nn.Module) -> None:
    held = SimpleNamespace(parts=defaultdict(list, own=[attention.forward]))
    attention.forward = lambda *args, **kwargs: halved(held.parts["own"][0], *args, **kwargs)


def with_compiled(attention: nn.Module) -> None:
    with_closure(attention)
    attention.forward = torch.compile(attention.forward, backend="eager")


PATCHES = [
    with_closure, with_partial, with_default, with_list, with_object, with_itself, with_weak_reference,
    with_named_parts, with_compiled,
]  # fmt: skip


@pytest.mark.parametrize("patch", PATCHES)
def test_copies_in_float32_run_patched_forwards_on_their_own_parts(patch: Callable[..., None]) -> None:
    """Of short weights, beside attributes that cannot be copied."""
    model, plain = llama().bfloat16(), llama().bfloat16().float()
    for layer, other in zip(model.layers, plain.layers, strict=True):
        patch(layer.self_attn)
        layer.lock, layer.random = threading.Lock(), torch.Generator()
        other.self_attn.o_proj.weight.data /= 2
    flow, expected = Explainer(model).explain(IDS), Explainer(plain).explain(IDS)
    for route in flow.routes:
        torch.testing.assert_close(flow.tensors[route], expected.tensors[route], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_what_patches_hold_may_change_later(kind: torch.dtype) -> None:
    model = llama().to(kind)
    attention = model.layers[0].self_attn
    table = {"own": attention.forward, "factor": 1.0}
    attention.forward = lambda *args, **kwargs: (table["factor"] * table["own"](*args, **kwargs)[0], None)
    explainer = Explainer(model)
    before = explainer.explain(IDS, routes="z2z")
    table["factor"] = 3.0
    late, new = (one.explain(IDS, routes="z2z") for one in (explainer, Explainer(model)))
    torch.testing.assert_close(late.z2z, new.z2z, atol=0, rtol=0)
    assert (late.z2z - before.z2z).abs().max() > 0.1 * before.z2z.abs().max()


def test_compiled_models_and_layers_are_explained_as_they_were_written() -> None:
    expected = Explainer(llama()).explain(IDS)
    whole, each, inside = llama(), llama(), llama()
    whole.compile(backend="eager")
    for number in range(2):
        each.layers[number] = torch.compile(each.layers[number], backend="eager")
        inside.layers[number].mlp.compile(backend="eager")
    for model in (whole, each, inside):
        flow = Explainer(model).explain(IDS)
        for route in flow.routes:
            torch.testing.assert_close(flow.tensors[route], expected.tensors[route], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("patch", PATCHES)
def test_patched_forwards_run_on_the_copys_own_parts(patch: Callable[[nn.Module], None]) -> None:
    model, plain = llama(), llama()
    for layer in model.layers:
        patch(layer.self_attn)
    for layer in plain.layers:
        layer.self_attn.o_proj.weight.data /= 2
    twin = private_copy(model)
    model.layers[0].self_attn.q_proj.register_forward_hook(lambda *_: pytest.fail("the model's own part ran"))
    torch.testing.assert_close(output(twin), output(plain))
    flow, expected = Explainer(twin).explain(IDS), Explainer(plain).explain(IDS)
    for route in flow.routes:
        torch.testing.assert_close(flow.tensors[route], expected.tensors[route], atol=1e-5, rtol=1e-4)


def test_weights_are_shared_and_nothing_else() -> None:
    model = llama()
    twin = private_copy(model)
    both = zip(model.parameters(), twin.parameters(), strict=True)
    assert all(own.data_ptr() == shared.data_ptr() for own, shared in both)
    assert not {*model.modules()} & {*twin.modules()}
    twin.config._attn_implementation = "eager"
    twin.layers[0].register_forward_hook(lambda *_: None)
    assert model.config._attn_implementation == "sdpa"
    assert twin.layers[0].self_attn.config is twin.config
    assert not model.layers[0]._forward_hooks
    with torch.no_grad():
        model.norm.weight.mul_(2)
    torch.testing.assert_close(output(twin), output(model))


def test_hooks_act_in_the_copy_and_write_where_their_user_reads() -> None:
    model, seen = llama(), list[int]()
    model.layers[1].register_forward_hook(lambda module, args, out: seen.append(out.shape[1]))
    first = Explainer(model).explain(IDS)
    assert set(seen) == {4}
    model.layers[0].self_attn.o_proj.register_forward_hook(lambda module, args, out: 0 * out)
    explainer = Explainer(model)
    silenced = explainer.explain(IDS)
    assert float(silenced.z2z[0].abs().max()) < 1e-6 < float(first.z2z[0].abs().max())


def test_hooks_that_come_later_are_noticed() -> None:
    model = llama()
    explainer = Explainer(model)
    before = explainer.explain(IDS, routes="z2z")
    handle = model.layers[0].self_attn.o_proj.register_forward_hook(lambda module, args, out: 0 * out)
    assert float(explainer.explain(IDS, routes="z2z").z2z[0].abs().max()) < 1e-6
    handle.remove()
    torch.testing.assert_close(explainer.explain(IDS, routes="z2z").z2z, before.z2z)


class _Watching(TorchFunctionMode):
    """Looks at the model, as its other users would, at every nth function of PyTorch; Ctrl-C at the last."""

    def __init__(self, model: nn.Module, every: int = 1, last: int = -1) -> None:
        super().__init__()
        self.model, self.every, self.last, self.count = model, every, last, 0
        self.before, self.wrong = state(model), list[int]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        if self.count == self.last:
            raise KeyboardInterrupt
        if self.count % self.every == 0:
            with torch._C.DisableTorchFunction():
                self.wrong += [] if state(self.model) == self.before else [self.count]
        return func(*args, **(kwargs or {}))


def state(model: nn.Module) -> Any:
    """All that others see of a model, but for the numbers in its weights."""
    training = [module.training for module in model.modules()]
    return Structure(model), training, [one.requires_grad for one in model.parameters()]


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_at_no_moment_of_a_call_do_others_see_anything_on_the_model(kind: str) -> None:
    model = MODELS[kind]().train()
    with _Watching(model, every=211) as watching:
        explainer = Explainer(model)
        explainer.explain(IDS)
    assert watching.count > 1000
    assert not watching.wrong


def test_an_interrupted_call_leaves_the_model_and_the_explainer_as_they_were() -> None:
    model = llama().train()
    before, own, expected = state(model), output(model), Explainer(model).explain(IDS)
    explainer, moments = Explainer(model), [*range(1, 300, 23), *range(300, 4000, 401)]
    interrupted = 0
    for moment in moments:
        try:
            with _Watching(model, every=10**9, last=moment):
                explainer.explain(IDS)
        except KeyboardInterrupt:
            interrupted += 1
        assert state(model) == before
    assert interrupted > 15
    torch.testing.assert_close(output(model), own)
    torch.testing.assert_close(explainer.explain(IDS).z2z, expected.z2z)


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.filterwarnings("ignore::ligflow.CompletenessWarning")  # jumps of experts
@pytest.mark.parametrize("kind", MODELS)
def test_ten_threads_run_the_model_while_it_is_explained(kind: str) -> None:
    """All outputs, and all maps, are those of a model that nobody else uses."""
    torch.manual_seed(1)
    model = MODELS[kind]()
    texts = [{"input_ids": torch.randint(3, 40, (1, count))} for count in (3, 3, 4)]
    own = [model(**text)[0].detach() for text in texts]
    explainer, most = Explainer(model), 31  # points: where experts jump, more of them change nothing
    expected = [explainer.explain(text, max_nodes=most) for text in texts]
    stop, wrong, runs = threading.Event(), list[str](), list[int]()

    def serve(number: int) -> None:
        while not stop.wait(0.002):  # or ten threads leave the explainer an eleventh of a core
            with torch.no_grad():
                found = model(**texts[number % 3])[0]
            runs.append(number)
            if not torch.allclose(found, own[number % 3], atol=1e-6):
                wrong.append(f"run {len(runs)}")

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    try:
        flows = [explainer.explain(text, max_nodes=most) for text in texts]
        flows += explainer.explain_many(texts, max_nodes=most)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert {*runs} == {*range(10)}
    for flow, known in zip(flows, expected * 2, strict=True):
        for route in known.routes:
            torch.testing.assert_close(flow.tensors[route], known.tensors[route], atol=1e-6, rtol=1e-4)


def test_a_layer_is_not_touched_while_it_is_attributed() -> None:
    model, given = llama(), list[tuple[Any, Any]]()
    hook = model.layers[0].register_forward_pre_hook(lambda m, a, k: given.append((a, k)), with_kwargs=True)
    output(model)
    hook.remove()
    args, kwargs = given[0]
    before = Structure(model)
    seen = list[Any]()
    model.layers[0].register_forward_hook(lambda *_: seen.append(1))
    flow = attribute_layer(model.layers[0], *args, **kwargs)
    expected = Explainer(llama()).explain(IDS, layers=[0])
    torch.testing.assert_close(flow.z2z, expected.z2z, atol=1e-6, rtol=1e-4)
    assert not seen
    model.layers[0]._forward_hooks.clear()
    assert Structure(model) == before


@pytest.fixture(autouse=True)
def one_core() -> Iterator[None]:
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)
