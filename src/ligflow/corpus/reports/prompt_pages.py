"""Pages of single prompts of a run, explained again with what heads read, and held against its tables."""

from collections.abc import Sequence
from pathlib import Path

from ligflow.corpus.analysis.prompt_examples import prompts_of
from ligflow.corpus.runs.prompt_shard import request_of
from ligflow.corpus.runs.store import Run
from ligflow.corpus.runs.worker import Model, describe, loaded
from ligflow.corpus.tables.prompt_settings import PromptSettings
from ligflow.errors import LigflowError
from ligflow.names import SHORT_TEXT

_SAME = 1e-3  # of the scale: what the number of points and of a batch's prompts may change


def write_pages(run: Run, numbers: Sequence[int], folder: Path) -> dict[int, str]:
    """The page of each prompt in `folder`, which is made; their names, by the prompts' numbers.

    Raises LigflowError if the model is not the one of the run, or says something else.
    """
    known = run.manifest["model"]
    model = Model(known["name"], known["revision"], known["dtype"], head=True)
    explainer = loaded(model)
    if describe(explainer, model)["fingerprint"] != known["fingerprint"]:
        raise LigflowError(
            f"The model {known['name']!r} is not the one of the run in {str(run.folder)!r}: its weights have "
            "changed. Bring them back, or leave --pages out."
        )
    folder.mkdir(parents=True, exist_ok=True)
    settings = PromptSettings(**run.manifest["settings"]).describe()
    scores = _scores(run, set(numbers))
    names = {}
    for prompt in prompts_of(run, numbers):
        request = request_of(prompt)
        reference = settings["reference"] if request.reference is None else request.reference
        prediction = explainer.explain_prediction(
            request.inputs, request.answer, request.contrast,
            edges="all" if len(prompt.text) <= SHORT_TEXT else "strongest",
            **settings | {"reference": reference},
        )  # fmt: skip
        score, scale = scores[prompt.number]
        if abs(prediction.value - score) > _SAME * scale:
            raise LigflowError(
                f"Prompt {prompt.number} has the score {prediction.value:.4g}, and in the run's tables "
                f"{score:.4g}: versions or settings differ; compute the run anew in another folder."
            )
        names[prompt.number] = prediction.to_html(folder / f"prompt-{prompt.number}.html").name
    return names


def _scores(run: Run, numbers: set[int]) -> dict[int, tuple[float, float]]:
    """Score and scale of some prompts."""
    return {
        row["prompt"]: (row["score"], row["scale"])
        for shard in run.done
        for row in run.table(shard, "prompts").select(["prompt", "score", "scale"]).to_pylist()
        if row["prompt"] in numbers
    }
