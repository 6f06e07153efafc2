"""What an Explainer is asked about predictions: answered by the package above, `ligflow.prediction`."""

from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Unpack

from ligflow.explainer.estimate import Estimate
from ligflow.inputs.checks import Inputs
from ligflow.prediction_settings import AnswerOptions, PredictionOptions, SimilarityOptions, with_options
from ligflow.progress import Progress

if TYPE_CHECKING:
    from ligflow.explainer.explainer import Explainer


def _above(module: str) -> Any:
    """A module of the package above, by its name: what is below must not import it."""
    return import_module(f"ligflow.prediction.{module}")


@with_options(PredictionOptions)
def explain_prediction(
    explainer: "Explainer",
    inputs: Inputs,
    answer: str | int | None = None,
    contrast: str | int | None = None,
    position: int | str | None = None,
    *,
    progress: Progress | None = None,
    **options: Unpack[PredictionOptions],
) -> Any:
    """What each token, head and layer contributes to what the model says: a `Prediction`.

    The change of a score between a reference run and the real one is carried from the answer down to the
    input, `m_{t-1} = (∫ J da)ᵀ m_t`, and sums up at every cut, `Σ_k m_t[k] . Δh_t[k] = s(x) - s(x°)`.

    *Main arguments*:

    - `inputs`: what `explain` takes; of a chat the template is kept.
    - `answer`: a token or text, a class by name or number; None: what the model says itself. A blank in front
      counts. Of several tokens the score is the sum, and those before the last are given to the model.
    - `contrast`: what it is said rather than; the score is then the difference of two logits.
    - `position`: where the answer stands, for heads that say something at every token.
    - `reference`: `"neutral"`, `"random"` or `Random(...)`, `"mean"`, a text of as many tokens, or a tensor.
    - `on`: the tokens that the reference replaces: positions, ranges, texts; None: all but special ones.

    *Other arguments*:

    - `score`: `"logprob"`, `"logit"`, or a function of the model's outputs for a batch of points.
    - `cut`: `modules` (heads, MLPs), `layer`, or `model` (integrated gradients of the model as one).
    - `attention`: `moved`, or `held` at the weights of the real run; `experts`: `routed` or `held`.
    - `edges`: the layers of which it is kept what each head reads from which token: those of the
      `"strongest"` heads, of long texts none (beyond 1 GiB); those that you name, besides; `"all"`; or
      none, `()`.
    - `parts`: whether these edges are split by value (what was read), key (where it was found) and query
      (what was asked).
    - `features`: dictionaries whose features are kept (sparse autoencoders, transcoders): of
      `read_dictionary`, or their folders; several in a list.
    - `neurons`: of which layers' MLPs the hidden units are kept: `[3, 5]`, those of the `"strongest"` MLPs,
      `"all"`, or none: `()`; `Prediction.neurons(layer)` lists them, of other layers by a second run.
    - `tol`: the largest sum of errors of tokens, relative to `max(|change|, Σ |relevance|)`.
    - `max_points`: points of a segment after which it is given up and named; `points`: as many for all.
    - `truncate` and `progress` are those of `explain`; progress counts segments.

    Raises LigflowError for what cannot be asked of the model, and warns (CompletenessWarning) where the
    tolerance is missed.
    """
    return _above("explain").explain_prediction(
        explainer.whole, inputs, answer, contrast, position, progress=progress, **options
    )


@with_options(PredictionOptions)
def estimate_prediction(
    explainer: "Explainer",
    inputs: Inputs,
    answer: str | int | None = None,
    contrast: str | int | None = None,
    position: int | str | None = None,
    **options: Unpack[PredictionOptions],
) -> Estimate:
    """How long `explain_prediction` of the same arguments will take, and how much memory.

    Every fifth segment is measured as it is, the others with the fewest points: it takes about as long as an
    explanation without edges, and pays where edges, several references or many answers are asked for. Raises
    LigflowError as `explain_prediction` does, and for `cut="model"`, which has no part to be measured.
    """
    estimate: Estimate = _above("estimate").estimate_prediction(
        explainer.whole, inputs, answer, contrast, position, **options
    )
    return estimate


@with_options(AnswerOptions)
def explain_answer(
    explainer: "Explainer",
    prompt: Inputs,
    answer: str | None = None,
    *,
    max_new_tokens: int | None = None,
    progress: Progress | None = None,
    **options: Unpack[AnswerOptions],
) -> Any:
    """What each token of a prompt contributes to each token of an answer: an `Answer`.

    Each row is explained by `log p(token | prompt, tokens before it)`, those before it kept. Without an
    `answer` it is the model's own: the likeliest token each time, until it ends the text (the end token is no
    row) or `max_new_tokens` (20) are written. `options` are those of `explain_prediction`, but for
    `contrast`, `position` and `score`; edges are kept of the layers that are named. Raises LigflowError for
    a model that writes no text.
    """
    return _above("explain_answer").explain_answer(
        explainer.whole, prompt, answer, max_new_tokens=max_new_tokens, progress=progress, **options
    )


@with_options(SimilarityOptions)
def explain_similarity(
    explainer: "Explainer",
    text: Inputs,
    other: Inputs,
    *,
    pooling: str = "mean",
    pairs: bool = False,
    progress: Progress | None = None,
    **options: Unpack[SimilarityOptions],
) -> Any:
    """What each token of two texts contributes to the cosine of their vectors: a `Similarity`.

    Each side is explained alone, while the other text stays as it is. A text's vector are the last hidden
    states of its tokens, pooled: their `mean` (as most sentence embedders do), the `first` or the `last`.
    With `pairs` it is also said which tokens of both make them similar together [moeller2023], which takes a
    chain with a row for each component of a vector (a minute on MiniLM); `pairs_error` estimates what each is
    off. `options` are those of `explain_prediction` that say how; edges are kept of the layers that are
    named. Raises LigflowError for other poolings.
    """
    return _above("similarity").explain_similarity(
        explainer.prepared, text, other, pooling=pooling, pairs=pairs, progress=progress, **options
    )


@with_options(PredictionOptions)
def explain_predictions(
    explainer: "Explainer",
    many: Iterable[Inputs],
    answer: str | int | None = None,
    contrast: str | int | None = None,
    position: int | str | None = None,
    *,
    batch_size: int | None = None,
    progress: Progress | None = None,
    **options: Unpack[PredictionOptions],
) -> Iterator[Any]:
    """A `Prediction` for each of many inputs, in their order, equal to those of `explain_prediction`.

    Inputs of as many tokens go through the model together, `batch_size` at a time (None: as many as pay),
    each with its own points and errors. `options` are those of `explain_prediction`. Raises LigflowError for
    what is no list of inputs.
    """
    predictions: Iterator[Any] = _above("many").explain_predictions(
        explainer.whole, many, answer, contrast, position, batch_size=batch_size, progress=progress, **options
    )
    return predictions
