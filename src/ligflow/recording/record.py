"""One run of a model, in which its layers are found and recorded.

A layer is the outermost member of a ModuleList that keeps the shape of its hidden states and makes
one attention call. Nothing here knows a model family.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from transformers import PreTrainedModel

from ligflow.layer.arguments import flat_tensors
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.recording.call import Call, flat, layer_of, meet_in_attention
from ligflow.recording.model_runs import NotedRun, recording_run, run
from ligflow.recording.stacks import refuse_lonely_tokens, stack_of, stacks_of_calls
from ligflow.recording.unmodified_run import WRONG, followed, not_run


def record(
    model: PreTrainedModel,
    inputs: Mapping[str, Any],
    stack: str | None = None,
    noted: NotedRun | None = None,
    loaded: Callable[[], Sequence[Call]] | None = None,
) -> list[Layer]:
    """Runs the model on one example and returns the layers of a stack in the order of their calls.

    `stack` is a part of the stack's name, e.g. `decoder`; a model with one stack needs none. `noted` is a
    `recording_run`, and `loaded` gives the calls of a run of the model as it was loaded, where these were
    made before.

    A layer that cannot be split at its attention is `whole`, with the reason in its findings; z2z remains
    possible for it. Raises UnsupportedModel where no stack of layers is found at all, or one in
    which tokens never meet.
    """
    noted = noted or recording_run(model, inputs)
    calls, refusal = noted.calls, noted.refusal
    stack_calls = stack_of(model, calls, stack)
    single = _is_single(inputs) or any(meet_in_attention(call) for call in stack_calls)
    of_call = partial(layer_of, refusal=refusal, single=single)
    layers = [of_call(index, call) for index, call in enumerate(stack_calls)]
    try:
        own = _the_same(stack_calls, calls, loaded() if loaded else calls_as_loaded(model, inputs))
    except WRONG as error:
        layers = not_run(model, layers, error)
    else:
        layers = followed(model, layers, stack_calls, own, of_call)
    if refusal or any(layer.forms for layer in layers):
        refuse_lonely_tokens(model, layers)
    return layers


def calls_as_loaded(model: PreTrainedModel, inputs: Mapping[str, Any]) -> list[Call]:
    """The calls of a run of the model with the attention that it was loaded with."""
    with prepared(model, None):
        return run(model, inputs).calls


def _the_same(stack_calls: Sequence[Call], calls: list[Call], loaded: Sequence[Call]) -> list[Call]:
    """The calls that were found among `calls`, in another run."""
    others, every = list(flat(loaded)), list(flat(calls))
    own = dict(zip(_places(others), others, strict=True))
    places = dict(zip(map(id, every), _places(every), strict=True))
    return [own[places[id(call)]] for call in stack_calls]


def _places(calls: list[Call]) -> list[tuple[str, int]]:
    """Every call by the name of what is called, and how often that was called before."""
    counts: Counter[str] = Counter()
    places = []
    for call in calls:
        places.append((call.name, counts[call.name]))
        counts[call.name] += 1
    return places


def _is_single(inputs: Mapping[str, Any]) -> bool:
    """Whether all inputs are of one example, whatever the model makes of it."""
    return all(len(tensor) == 1 for tensor in flat_tensors(dict(inputs)) if tensor.ndim > 0)


def stacks(model: PreTrainedModel, inputs: Mapping[str, Any], noted: NotedRun | None = None) -> list[str]:
    """The names of the stacks of layers that the model has on these inputs, e.g. `encoder.layers.*`."""
    return list(stacks_of_calls(model, (noted or recording_run(model, inputs)).calls))
