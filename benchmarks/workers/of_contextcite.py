"""ContextCite by its authors' package, and the judge of passages: `of_contextcite.py FOLDER WEIGHTS [COUNT]`.

What a set of passages is worth is the answer's log-probability without them: they are deleted from the
message, as the package deletes them, and the others keep their numbers. Each of a question's 32 sets is run
once; where the package asks for one again it gets the same outputs, and the seconds that they took are
counted again. Written are relevances of the package and of leave-one-out, and all sets' scores,
`judged/QUESTION.json`.
"""

import contextlib
import io
import json
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nltk
import numpy as np
import torch
import transformers
import worker
from torch import Tensor

from passage_templates import PassageCase, cases
from question_file import Question, append, read_lines, read_questions

nltk.download = lambda *_, **__: (
    True
)  # the package asks a server for a list of sentence ends, which it needs not
from context_cite import ContextCiter  # noqa: E402
from context_cite.context_partitioner import BaseContextPartitioner  # noqa: E402

SOURCE = "Cohen-Wang et al. 2024, https://github.com/MadryLab/context-cite"
TEMPLATE = "Answer the question briefly, from the passages below.\n{context}\nQuestion: {query}"
ABLATIONS = {"contextcite": 64, "contextcite-32": 32}
LEAVE_ONE_OUT = "leave-one-out"
REMOVED = "passages"  # in the judge's files, the name of what is done to those that go


class PassagePartitioner(BaseContextPartitioner):  # type: ignore[misc]
    """Passages with their numbers, as the package's sources."""

    def __init__(self, passages: Sequence[str]) -> None:
        self.parts = [f"\nPassage {number}: {text}\n" for number, text in enumerate(passages, 1)]
        super().__init__("".join(self.parts))

    @property
    def num_sources(self) -> int:
        return len(self.parts)

    def split_context(self) -> None:
        """They are split already."""

    def get_source(self, index: int) -> str:
        return self.parts[index]

    def get_context(self, mask: Any = None) -> str:
        kept = [True] * len(self.parts) if mask is None else mask
        return "".join(part for part, stays in zip(self.parts, kept, strict=True) if stays)


@dataclass
class Remembered:
    """A model that runs each input once: outputs at the answer's tokens, and the CPU seconds they took.

    The package reads no others; it would have logits of all tokens and a loss, which nobody reads, made too.
    """

    model: Any
    answer: int
    outputs: dict[tuple[int, ...], Tensor] = field(default_factory=dict)
    took: dict[tuple[int, ...], float] = field(default_factory=dict)
    calls: int = 0
    seconds: float = 0.0

    @property
    def device(self) -> Any:
        return self.model.device

    def __call__(self, input_ids: Tensor, **_: Any) -> Any:
        key = tuple(input_ids[0].tolist())
        if key not in self.outputs:
            begin = time.process_time()
            output = self.model(input_ids=input_ids, logits_to_keep=self.answer + 1, use_cache=False)
            self.outputs[key] = output.logits
            self.took[key] = time.process_time() - begin
        self.calls += 1
        self.seconds += self.took[key]
        return SimpleNamespace(logits=self.outputs[key])

    def counted(self) -> tuple[int, float]:
        """Calls and seconds since the last time."""
        was = self.calls, self.seconds
        self.calls, self.seconds = 0, 0.0
        return was


def main() -> None:
    """The worker as a program."""
    if len(sys.argv) not in (3, 4):
        raise SystemExit(f"{sys.argv[0]} FOLDER WEIGHTS [COUNT]")
    warnings.simplefilter("ignore")
    folder, weights = Path(sys.argv[1]), Path(sys.argv[2])
    write_about(folder)
    tested = [each for each in read_questions(folder / "questions.jsonl") if not each.tuning]
    tested = tested[: int(sys.argv[3])] if len(sys.argv) == 4 else tested
    left = [each for each in tested if not (folder / "judged" / f"{each.name}.json").exists()]
    if not left:
        return
    model, tokenizer = worker.loaded(weights), transformers.AutoTokenizer.from_pretrained(weights)
    worker.agrees(model, weights)
    by_name = {case.name: case for case in cases()}
    for number, question in enumerate(left, 1):
        lines, scores = judged(model, tokenizer, question, by_name[question.name])
        for method, line in lines.items():
            file = folder / "relevances" / f"{method}.jsonl"
            if question.name not in {each["name"] for each in read_lines(file)}:
                append(file, {"name": question.name, **line})
        write(folder / "judged" / f"{question.name}.json", scores)
        print(f"contextcite: {number} of {len(left)}, {question.name}", flush=True)


def write_about(folder: Path) -> None:
    """What the methods are, beside their relevances."""
    runs = "every passage deleted alone, by the score's own fall"
    about = {
        LEAVE_ONE_OUT: {
            "package": "ligflow (benchmarks)",
            "version": "",
            "settings": runs,
            "source": "the judge",
        }
    }
    for method, ablations in ABLATIONS.items():
        settings = f"ContextCiter at its defaults but num_ablations={ablations}, our message as its template"
        about[method] = {"package": "context-cite", "version": version("context-cite"), "settings": settings}
        about[method] |= {"source": SOURCE}
    for method, words in about.items():
        file = folder / "relevances" / f"{method}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"method": method, **words}, indent=1) + "\n")


def judged(
    model: Any, tokenizer: Any, question: Question, case: PassageCase
) -> tuple[dict[str, dict[str, Any]], dict[str, float]]:
    """Each method's line, and the scores of all sets of passages that may be deleted, by number."""
    remembered = Remembered(model, len(question.said))
    lines = {}
    for method, ablations in ABLATIONS.items():
        citer = citing(remembered, tokenizer, question, case, ablations)
        begin, was = time.process_time(), sum(remembered.took.values())
        with contextlib.redirect_stderr(io.StringIO()):
            relevance = citer.get_attributions(verbose=False)
        rest = time.process_time() - begin - (sum(remembered.took.values()) - was)
        calls, seconds = remembered.counted()
        if calls != ablations:
            raise SystemExit(f"{method} called the model {calls} times for {ablations} ablations.")
        lines[method] = line(relevance.tolist(), seconds + rest)
    scores = {str(number): without(citer, remembered, number) for number in range(1 << len(case.passages))}
    remembered.counted()
    alone = [
        without(citer, remembered, number)
        for number in [0, *(1 << place for place in range(len(case.passages)))]
    ]
    lines[LEAVE_ONE_OUT] = line([alone[0] - each for each in alone[1:]], remembered.counted()[1])
    return lines, scores


def citing(remembered: Any, tokenizer: Any, question: Question, case: PassageCase, ablations: int) -> Any:
    """The package on a question whose answer is given; stops where its prompt is not the question's."""
    partitioner = PassagePartitioner(case.passages)
    citer = ContextCiter(
        remembered, tokenizer, partitioner.context, case.question,
        num_ablations=ablations, prompt_template=TEMPLATE, partitioner=partitioner,
    )  # fmt: skip
    prompt, text = citer._get_prompt_ids(return_prompt=True)
    citer._cache["output"] = text + tokenizer.decode(question.said)
    if [*prompt, *citer._response_ids] != [*question.ids, question.target]:
        raise SystemExit(f"{question.name}: the package asks it in other tokens.")
    return citer


def without(citer: Any, remembered: Remembered, removed: int) -> float:
    """The answer's log-probability without the passages of a set, bit k for passage k."""
    mask = np.array([not removed >> place & 1 for place in range(citer.num_sources)])
    said = citer._response_ids
    ids = torch.tensor([[*citer._get_prompt_ids(mask=mask), *said]])
    with torch.no_grad():
        of_answer = remembered(input_ids=ids).logits[0, :-1].log_softmax(-1)
    return float(of_answer[range(len(said)), said].sum())


def line(relevance: Sequence[float], seconds: float) -> dict[str, Any]:
    return {"relevance": [float(value) for value in relevance], "seconds": seconds, "peak_mb": 0.0}


def write(path: Path, scores: Mapping[str, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps({REMOVED: dict(scores)}))
    part.replace(path)


if __name__ == "__main__":
    main()
