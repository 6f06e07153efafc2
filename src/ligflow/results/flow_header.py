"""What a flow file says beside its tensors, field by field: its types, and what fits together."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

Place = Annotated[int, Field(ge=0, lt=2**31)]
Text = Annotated[str, AfterValidator(lambda text: _whole(text))]
Finite = Annotated[float, Field(allow_inf_nan=False)]
FLOW, PREDICTION, ANSWER = "ligflow", "ligflow_prediction", "ligflow_answer"  # names of files' headers
SIMILARITY = "ligflow_similarity"
_READERS = {
    FLOW: ("a flow", "Flow.load"),
    PREDICTION: ("a prediction", "Prediction.load"),
    ANSWER: ("an answer", "Answer.load"),
    SIMILARITY: ("a similarity", "Similarity.load"),
}


class Part(BaseModel):
    """Types are as JSON has them; fields that this version does not know may stand beside."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)


class Settings(Part):
    """How a flow was computed, as its views name it."""

    routes: list[Text] = []
    att_baseline: Text = ""
    mlp_baseline: Text = ""
    layer_baseline: Text = ""
    encoder_baseline: Text = ""
    scalarization: dict[Text, Text] = {}
    quadrature: Text = ""
    tol: Finite | None = None
    max_nodes: int | None = None
    precision: Text = ""
    experts: Text = ""
    carried: bool = False


class Patches(Part):
    """Where the squares of an image begin among the tokens."""

    rows: Place
    columns: Place
    first: Place


class Frames(Part):
    """How long a token of a recording lasts."""

    seconds: Finite


class Meta(Part):
    """Where a flow comes from; none of it needs to be there."""

    model: Text | None = None
    model_class: Text | None = None
    revision: Text | None = None
    stack: Text | None = None
    hidden_states_of: Text | None = None
    text: Text | None = None
    towards: Text | None = None
    merged: Text | None = None
    dtype: Text | None = None
    index: int | None = None
    words: list[Place] | None = None
    word_labels: list[Text] = []
    word_places: list[int] = []
    memory: list[Text] = []
    memory_special: list[bool] = []
    hidden_tokens: list[Text] = []
    notes: list[Text] = []
    settings: Settings = Settings()
    versions: dict[Text, Text] = {}
    shortcuts: dict[Text, Text] = {}
    patches: Patches | None = None
    frames: Frames | None = None

    @model_validator(mode="after")
    def _fits(self) -> "Meta":
        labels = len(self.word_labels)
        needed(self.words is None or max(self.words, default=-1) < labels, "words", "number word_labels")
        needed(len(self.word_places) in (0, labels), "word_places", "be as many as word_labels")
        marks = len(self.memory_special)
        needed(marks in (0, len(self.memory)), "memory_special", "be as many as memory")
        return self


class Header(Part):
    """The labels of a flow's axes."""

    format: Annotated[int, Field(ge=1)]
    tokens: Annotated[list[Text], Field(min_length=1)]
    layers: Annotated[list[Place], Field(min_length=1)]
    targets: Annotated[list[Place], Field(min_length=1)]
    special: list[bool]
    meta: Meta

    @model_validator(mode="after")
    def _fits(self) -> "Header":
        count, meta = len(self.tokens), self.meta
        needed(len(self.special) == count, "special", "be as many as tokens")
        needed(max(self.targets) < count, "targets", "be positions of tokens")
        for name, places in (("targets", self.targets), ("layers", self.layers)):
            needed(len({*places}) == len(places), name, "be named once each")
        needed(meta.words is None or len(meta.words) == count, "meta.words", "be as many as tokens")
        grid = meta.patches
        needed(
            grid is None or grid.first + grid.rows * grid.columns <= count,
            "meta.patches",
            "lie among the tokens",
        )
        return self


def other_kind(metadata: Mapping[str, str], wanted: str) -> str:
    """What a file holds instead of what is wanted, and what reads it; empty if nothing of ours."""
    for name, (what, reader) in _READERS.items():
        if name in metadata and wanted not in metadata:
            return f"holds {what}, not {_READERS[wanted][0]}: {reader} reads it"
    return ""


def wrong_field(schema: type[Part], data: Any) -> str:
    """What is wrong with data from a file, by the name of its first wrong field; empty if nothing is."""
    try:
        schema.model_validate(data)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        return f"{place}: {message}" if place else message
    return ""


def _whole(text: str) -> str:
    """JSON may hold halves of characters, which cannot be written again."""
    needed(not any("\ud800" <= letter <= "\udfff" for letter in text), "text", "hold whole characters")
    return text


def needed(holds: bool, name: str, rule: str) -> None:
    """Raises ValueError, which pydantic makes an error of the field, unless the rule holds."""
    if not holds:
        raise ValueError(f"{name} should {rule}")
