"""The tables of a run on prompts, as Arrow schemas: what each column holds.

| table | one row for |
|---|---|
| `prompts` | a prompt: its scores and certificate, or left out and why |
| `tokens` | a token of a prompt, with its relevance at the input |
| `components` | what a head or an MLP contributes at a token |

Numbers are in units of the score, nats (natural logarithm) for a log-probability. A prompt's tokens sum to
its change; so do the heads of a layer with what goes past them, and its MLP with what goes past that.
"""

import pyarrow as pa

_NAME = pa.dictionary(pa.int8(), pa.string())

PROMPT_CORPUS = pa.schema(
    {
        "prompt": pa.int64(),
        "text": pa.string(),
        "place": pa.string(),
        "answer": pa.string(),  # null where the corpus has none, as all below
        "contrast": pa.string(),
        "reference": pa.string(),
        "passages": pa.list_(pa.struct({"title": pa.string(), "text": pa.string()})),
        "group": pa.string(),
    }
)
PROMPTS = pa.schema(
    {
        "prompt": pa.int64(),
        "place": pa.string(),
        "group": pa.string(),  # null where the corpus has none
        "left_out": pa.string(),  # the reason; null where it was explained. The other columns are null then
        "tokens": pa.int32(),
        "question": pa.string(),  # the answer that was explained
        "says": pa.string(),  # the likeliest output
        "probability": pa.float64(),  # of it
        "reference": pa.string(),
        "reference_says": pa.string(),
        "reference_probability": pa.float64(),
        "score": pa.float64(),
        "reference_score": pa.float64(),
        "change": pa.float64(),  # score - reference_score: what is taken apart
        "scale": pa.float64(),  # max(|change|, sum over tokens of |relevance|)
        "completeness_error": pa.float64(),  # sum of the tokens' relevance - change
        "certificate": pa.float64(),  # completeness_error / scale
        "estimated_error": pa.float64(),  # sum over tokens of the estimated errors
        "unmet": pa.int32(),  # segments of the model that miss the tolerance
        "points": pa.int32(),  # the most that a segment took
    }
)
TOKENS = pa.schema(
    {
        "prompt": pa.int64(),
        "position": pa.int32(),
        "token": pa.dictionary(pa.int32(), pa.string()),
        "stream": _NAME,  # tokens; with an encoder, which of the two reads it
        "kept": pa.bool_(),  # the same in both runs
        "relevance": pa.float64(),
        "error": pa.float64(),  # estimated
    }
)
COMPONENTS = pa.schema(
    {
        "prompt": pa.int64(),
        "kind": _NAME,  # head, cross-head, mlp
        "layer": pa.int16(),
        "head": pa.int16(),  # null for an MLP
        "position": pa.int32(),  # where it writes
        "relevance": pa.float64(),
    }
)
PREDICTION_TABLES = {"prompts": PROMPTS, "tokens": TOKENS, "components": COMPONENTS}
