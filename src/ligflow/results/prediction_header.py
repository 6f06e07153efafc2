"""What a prediction's file says beside its tensors, field by field: its types, and what fits together."""

from typing import Annotated, Any

from pydantic import Field, Strict, model_validator

from ligflow.results.feature_file import FeaturesAbout
from ligflow.results.flow_header import Finite, Part, Place, Text, needed

Share = Annotated[float, Field(ge=0, le=1)]
Lax = Strict(False)  # JSON has no tuples
Spans = list[Annotated[tuple[Text, list[Place]], Lax]]
Outputs = list[Annotated[tuple[Text, Share], Lax]]


class Certificate(Part):
    """How well a segment was integrated."""

    name: Text
    layer: Place | None
    residue: Finite
    error: Finite
    allowance: Finite
    points: Place
    met: bool
    note: Text = ""


class About(Part):
    """Where a prediction comes from and what was asked; none of it needs to be there."""

    model: Text | None = None
    model_class: Text | None = None
    revision: Text | None = None
    text: Text | None = None
    dtype: Text | None = None
    words: list[Place] | None = None
    word_labels: list[Text] = Field(default_factory=list)
    notes: list[Text] = Field(default_factory=list)
    versions: dict[Text, Text] = Field(default_factory=dict)
    question: Text = ""
    reference: Text = ""
    reference_tokens: list[Text] | None = None
    spans: dict[Text, Spans] = Field(default_factory=dict)
    totals: list[Finite] = Field(default_factory=list)
    relevance_sd: list[Finite] = Field(default_factory=list)
    parallel: list[Place] = Field(default_factory=list)
    units: dict[Text, list[Annotated[tuple[Text, Place], Lax]]] = Field(default_factory=dict)
    settings: dict[Text, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits(self) -> "About":
        labels = len(self.word_labels)
        needed(self.words is None or max(self.words, default=-1) < labels, "words", "number word_labels")
        return self


class PredictionHeader(Part):
    """The labels of a prediction, its score in both runs, and its certificates."""

    format: Annotated[int, Field(ge=1)]
    tokens: Annotated[list[Text], Field(min_length=1)]
    special: list[bool]
    kept: list[bool]
    value: Finite
    reference_value: Finite
    cuts: Annotated[list[Text], Field(min_length=1)]
    certificates: list[Certificate]
    top: Outputs
    reference_top: Outputs
    layer_names: list[Text]
    streams: list[Annotated[tuple[Text, Place, Place], Lax]]
    stored_features: list[FeaturesAbout] = Field(default_factory=list)
    meta: About

    @model_validator(mode="after")
    def _fits(self) -> "PredictionHeader":
        count, meta = len(self.tokens), self.meta
        for name, marks in (("special", self.special), ("kept", self.kept)):
            needed(len(marks) == count, name, "be as many as tokens")
        inside = all(begin < end <= count for _, begin, end in self.streams)
        needed(inside, "streams", "begin and end among the tokens")
        needed(meta.words is None or len(meta.words) == count, "meta.words", "be as many as tokens")
        deviations = len(meta.relevance_sd)
        needed(deviations in (0, count), "meta.relevance_sd", "be as many as tokens")
        for name, spans in meta.spans.items():
            held = [place for _, places in spans for place in places]
            needed(max(held, default=0) < count, f"meta.spans.{name}", "hold positions of tokens")
        return self
