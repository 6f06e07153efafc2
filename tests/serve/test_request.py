"""What may be asked: every wrong field and body is refused by name."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from ligflow import Explainer
from ligflow.errors import LigflowError
from ligflow.serve.limits import Limits
from ligflow.serve.offered import Offered
from served import ASK, LIMITS, Connect, assert_refused, over, post


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        ({"text": ""}, ["empty"]),
        ({"text": " \n\t"}, ["blank", "at least one word"]),
        ({"text": "a" * 201}, ["201 characters", "200"]),
        ({"text": "a b c d e f g h i j k l m n o p q r s t u v w"}, ["25 tokens", "24"]),
        ({"text": 5}, ["text is 5", "string"]),
        ({"text": None}, ["text is None"]),
        ({"text": ["a"]}, ["text is ['a']"]),
        ({"model": "gpt-9"}, ["'gpt-9'", "embedded:minilm"]),
        ({"model": "../../etc/passwd"}, ["not offered"]),
        ({"model": {}}, ["model is {}"]),
        ({"att_baseline": "nothing"}, ["att_baseline is 'nothing'", "itb, zero"]),
        ({"mlp_baseline": "itb"}, ["mlp_baseline", "att_itb_a0"]),
        ({"layer_baseline": "itb_map_ratio"}, ["layer_baseline", "mean"]),
        ({"layer_baseline": "x" * 9999}, ["layer_baseline", "..."]),
        ({"tol": 0}, ["tol is 0", "1e-05 to 0.5"]),
        ({"tol": 1}, ["tol is 1"]),
        ({"tol": -1.5}, ["tol is -1.5"]),
        ({"tol": "0.1"}, ["tol is '0.1'"]),
        ({"tol": True}, ["tol is True"]),
        ({"tol": None}, ["tol is None"]),
        ({"layers": [6]}, ["no layer 6", "0 to 5"]),
        ({"layers": [-1]}, ["no layer -1"]),
        ({"layers": [10**30]}, ["layer"]),
        ({"layers": []}, ["layers is empty"]),
        ({"layers": [0, 0]}, ["twice"]),
        ({"layers": [0.5]}, ["layers", "whole numbers"]),
        ({"layers": ["0"]}, ["layers"]),
        ({"layers": 0}, ["layers is 0"]),
        ({"device": "cuda"}, ["Unknown field 'device'", "text, model"]),
        ({"__class__": 1}, ["Unknown field"]),
    ],
)
def test_a_wrong_field_is_refused(client: TestClient, ask: dict[str, Any], said: list[str]) -> None:
    assert_refused(client.post("/api/flows", json=ASK | ask), 422, *said)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "not JSON"),
        (b"text=hello", 400, "not JSON"),
        (b'{"text": "a"', 400, "not JSON"),
        (b'{"text": "\xff"}', 400, "not JSON"),
        (b'{"text": "\\ud800"}', 400, "not JSON"),
        (b"[" * 5000, 400, "not JSON"),
        (b"[]", 422, "send an object"),
        (b"null", 422, "send an object"),
        (b'"a"', 422, "send an object"),
        (b"{}", 422, "text is missing"),
        (b'{"text": "a", "tol": NaN}', 422, "tol is nan"),
        (b'{"text": "a", "tol": 1e999}', 422, "tol is inf"),
        (b'{"text": "a", "tol": ' + b"9" * 5000 + b"}", 400, "not JSON"),
    ],
)
def test_a_wrong_body_is_refused(client: TestClient, body: bytes, status: int, said: str) -> None:
    assert_refused(client.post("/api/flows", content=body), status, said)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (
            {"text": "a b", "other": "c", "tol": 1},
            ["Unknown field 'tol'", "text, model, other"],
        ),
        ({"text": "a b"}, ["predicts no word", "other"]),
        ({"text": "a b", "other": " "}, ["second text (other) is empty"]),
        ({"text": "a b", "other": "c", "answer": "d"}, ["predicts no word", "Leave out answer"]),
        ({"text": "a b", "other": "c", "answer": -1}, ["answer is -1", "/api/likeliest"]),
        ({"text": "a b", "other": "c", "contrast": 1.5}, ["contrast is 1.5"]),
        ({"text": "a b", "other": "c", "position": []}, ["position is []"]),
        ({"text": "a b", "other": "c", "reference": " "}, ["reference is blank", "as many tokens"]),
        ({"text": "a b", "other": "c", "reference": "r" * 201}, ["201 characters", "200"]),
        ({"text": "a" * 150, "other": "b" * 51}, ["201 characters"]),
        ({"text": "a " * 11, "other": "b " * 11}, ["26 tokens", "24"]),
        ({"text": []}, ["text is []", "turns of a chat"]),
        ({"text": [{"role": "user"}]}, ["text is [", "turns of a chat"]),
        ({"text": [{"role": "user", "content": "Hi"}], "other": "b"}, ["chat has no second text"]),
        ({"text": [{"role": "user", "content": "Hi"}] * 65, "other": "b"}, ["text is ["]),
    ],
)
def test_a_wrong_question_is_refused(client: TestClient, ask: dict[str, Any], said: list[str]) -> None:
    assert_refused(client.post("/api/why", json=ask), 422, *said)


def test_what_a_model_of_one_text_does_not_read_is_refused(connect: Connect, speaking: Offered) -> None:
    client = connect(models=[speaking])
    assert_refused(client.post("/api/likeliest", json={"text": "a", "other": "b"}), 422, "reads one text")
    turns = [{"role": "user", "content": " "}]
    assert_refused(client.post("/api/why", json={"text": turns}), 422, "Message 0", "not blank")
    name = post(client, "/api/why", text="The capital", reference="too many tokens for it")["id"]
    told = over(client, name)
    assert told["state"] == "failed"
    assert "reword one until they are as many" in told["error"]
    assert_refused(client.get(f"/api/jobs/{name}/result"), 409, "no result", "as many")


def test_a_text_of_the_most_characters_fits_the_body() -> None:
    for characters in (1, 2000, 10**6):
        body = json.dumps({"text": "\N{GRINNING FACE}" * characters}).encode()
        assert len(body) < Limits(characters=characters).body


def test_a_model_without_tokenizer_is_not_offered(offered: Offered) -> None:
    with pytest.raises(LigflowError, match="no tokenizer"):
        Offered.of(Explainer(offered.explainer.model), LIMITS)
