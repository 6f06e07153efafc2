"""The computation of a request: a flow, the likeliest outputs, or the page of an answer, as bytes."""

import json
from typing import Any

from ligflow.inputs.chat import Chat
from ligflow.inputs.checks import Inputs
from ligflow.inputs.pairs import Pair
from ligflow.names import SHORT_TEXT
from ligflow.serve.jobs import Progress, Result, Work
from ligflow.serve.offered import Offered
from ligflow.serve.request import FlowRequest, LikeliestRequest, Request, Text, WhyRequest

_COUNT = 10  # likeliest outputs that can be asked about by a click


def work_of(request: Request, model: Offered) -> Work:
    """What computes a request; only the bytes of its result are kept."""
    if isinstance(request, FlowRequest):
        return lambda progress: _flow(request, model, progress)
    if isinstance(request, LikeliestRequest):
        return lambda _: _likeliest(request, model)
    return lambda progress: _why(request, model, progress)


def _flow(request: FlowRequest, model: Offered, progress: Progress) -> Result:
    from ligflow.view.payload import pack

    flow = model.explainer.explain(
        _text(request.text), routes=model.routes, layers=request.layers, att_baseline=request.att_baseline,
        mlp_baseline=request.mlp_baseline, layer_baseline=request.layer_baseline, tol=request.tol,
        progress=progress,
    )  # fmt: skip
    return Result(pack(flow), "application/octet-stream")


def _likeliest(request: LikeliestRequest, model: Offered) -> Result:
    """Outputs with their probabilities, and how `answer` and `contrast` name them."""
    from ligflow.prediction.likeliest import likeliest
    from ligflow.view.prediction_words import tokens_called

    whole = model.explainer.whole
    outputs = likeliest(whole, _inputs(request, model), _COUNT, request.position)
    labels = tokens_called([output.text for output in outputs])
    said = [vars(output) | {"label": label} for output, label in zip(outputs, labels, strict=True)]
    return Result(json.dumps(said, ensure_ascii=False).encode(), "application/json")


def _why(request: WhyRequest, model: Offered, progress: Progress) -> Result:
    """The page of an answer, or of why two texts are similar."""
    from ligflow.view.answer_page import page

    inputs, reference = _inputs(request, model), _text(request.reference)
    short = isinstance(request.text, str) and len(request.text) <= SHORT_TEXT
    if model.kind == "none" and request.other is not None:
        similarity = model.explainer.explain_similarity(
            inputs, request.other, reference=reference, edges="all" if short else (), progress=progress
        )
        html = page([similarity.text, similarity.other], ["the text", "the other text"])
    else:
        prediction = model.explainer.explain_prediction(
            inputs, request.answer, request.contrast, request.position, reference=reference,
            edges="all" if short else "strongest", progress=progress,
        )  # fmt: skip
        html = page([prediction])
    return Result(html.encode(), "text/html; charset=utf-8")


def _text(text: Text) -> Any:
    return text if isinstance(text, str) else Chat([turn.model_dump() for turn in text])


def _inputs(request: LikeliestRequest | WhyRequest, model: Offered) -> Inputs:
    """What the model reads: two texts are compared by a model without a head, and read as one by others."""
    if isinstance(request.text, str) and request.other is not None and model.kind != "none":
        return Pair(request.text, request.other)
    inputs: Inputs = _text(request.text)
    return inputs
