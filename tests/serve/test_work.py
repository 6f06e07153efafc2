"""Why-questions to the server: what it answers is what the library answers."""

import threading
from importlib import import_module
from typing import Any

import pytest
import torch
from starlette.testclient import TestClient

import asked_models
from ligflow.inputs.chat import Chat
from ligflow.inputs.pairs import Pair
from ligflow.prediction.matrix_points import MatrixPoints
from ligflow.serve.offered import Offered
from ligflow.view.answer_page import page
from served import PATIENCE, Connect, offer, over, post, until

TEXT = "The capital of France is"
TURNS = [{"role": "user", "content": "Paris is"}, {"role": "assistant", "content": "long"}]
TURNS += [{"role": "user", "content": "France"}]


def result(client: TestClient, path: str, **request: Any) -> Any:
    """What the server makes of a request."""
    told = over(client, post(client, path, **request)["id"])
    assert told["state"] == "done", told
    answer = client.get(f"/api/jobs/{told['id']}/result")
    assert answer.headers["x-content-type-options"] == "nosniff"
    return answer.json() if path == "/api/likeliest" else answer.text


def test_an_answer_that_is_clicked_is_explained(connect: Connect, speaking: Offered) -> None:
    client = connect(models=[speaking])
    ids = speaking.tokenizer(TEXT, return_tensors="pt")
    with torch.no_grad():
        shares = speaking.explainer.model(**ids).logits[0, -1].softmax(-1)
    outputs = result(client, "/api/likeliest", text=TEXT)
    assert [output["answer"] for output in outputs] == shares.topk(10).indices.tolist()
    assert [output["probability"] for output in outputs] == pytest.approx(shares.topk(10).values.tolist())
    answer, contrast = outputs[1]["answer"], outputs[2]["answer"]
    html = result(client, "/api/why", text=TEXT, answer=answer, contrast=contrast, reference="mean")
    assert html == page(
        [speaking.explainer.explain_prediction(TEXT, answer, contrast, reference="mean", edges="all")]
    )


@pytest.mark.parametrize("reference", ["neutral", "The river of Italy is", "random"])
def test_what_the_model_says_itself_is_explained(connect: Connect, speaking: Offered, reference: str) -> None:
    client = connect(models=[speaking])
    html = result(client, "/api/why", text=TEXT, reference=reference)
    assert html == page([speaking.explainer.explain_prediction(TEXT, reference=reference, edges="all")])


def test_turns_of_a_chat_are_explained(connect: Connect, speaking: Offered) -> None:
    client = connect(models=[speaking])
    other = [*TURNS[:-1], {"role": "user", "content": "Italy"}]
    html = result(client, "/api/why", text=TURNS, reference=other)
    assert html == page([speaking.explainer.explain_prediction(Chat(TURNS), reference=Chat(other))])


@pytest.mark.parametrize(
    ("whole", "fields", "inputs"),
    [
        (asked_models.bert_masked, {"text": "the [MASK] sat"}, "the [MASK] sat"),
        (
            asked_models.bert_classes,
            {"text": "the cat", "other": "a dog", "answer": 1},
            Pair("the cat", "a dog"),
        ),
        (asked_models.bert_tags, {"text": "the cat", "position": "cat"}, "the cat"),
        (asked_models.t5, {"text": "das haus", "other": "this"}, Pair("das haus", "this")),
    ],
)
def test_models_with_other_heads_are_asked_what_they_answer(
    connect: Connect, whole: Any, fields: dict[str, Any], inputs: Any
) -> None:
    model = offer(whole())
    client = connect(models=[model])
    prediction = model.explainer.explain_prediction(
        inputs, fields.get("answer"), position=fields.get("position"), edges="all"
    )
    assert result(client, "/api/why", **fields) == page([prediction])
    (described,) = client.get("/api/models").json()["models"]
    assert described["kind"] == model.kind != "none"


def test_two_texts_are_compared_by_a_model_without_a_head(connect: Connect) -> None:
    model = offer(asked_models.bert_base())
    html = result(connect(models=[model]), "/api/why", text="the cat sat", other="a dog ran")
    similarity = model.explainer.explain_similarity("the cat sat", "a dog ran", edges="all")
    assert html == page([similarity.text, similarity.other], ["the text", "the other text"])


def test_no_segment_runs_after_a_question_is_cancelled(
    connect: Connect, speaking: Offered, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, module = connect(models=[speaking]), import_module("ligflow.prediction.chain")
    average, segments, go = module._average, [], threading.Semaphore(0)

    def held(*arguments: Any) -> Any:
        segments.append(arguments[1])
        assert go.acquire(timeout=PATIENCE)
        return average(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_average", held)
        name = post(client, "/api/why", text=TEXT)["id"]
        go.release()
        until(lambda: len(segments), lambda count: count == 2)
        assert client.delete(f"/api/jobs/{name}").json()["cancelling"]
        go.release(50)
        told = over(client, name)
    assert told["state"] == "cancelled"
    assert len(segments) == 2 < told["of"]
    assert result(client, "/api/why", text=TEXT) == page(
        [speaking.explainer.explain_prediction(TEXT, edges="all")]
    )


def test_a_question_is_cancelled_within_a_segment_and_leaves_the_model_as_it_was(
    connect: Connect, speaking: Offered, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, model = connect(models=[speaking]), speaking.explainer.whole.model
    before = {name: (module.training, vars(module).get("forward")) for name, module in model.named_modules()}
    implementation, at = model.config._attn_implementation, MatrixPoints.at
    entered, go, computed = threading.Event(), threading.Event(), list[Any]()

    def held(points: Any, nodes: Any) -> None:
        entered.set()
        assert go.wait(PATIENCE)
        at(points, nodes)
        computed.append(nodes)

    with monkeypatch.context() as patch:
        patch.setattr(MatrixPoints, "at", held)
        name = post(client, "/api/why", text=TEXT)["id"]
        assert entered.wait(PATIENCE)
        assert client.delete(f"/api/jobs/{name}").json()["cancelling"]
        go.set()
        told = over(client, name)
    assert computed == []
    assert told["state"] == "cancelled"
    assert told["done"] < told["of"]
    assert before == {
        name: (module.training, vars(module).get("forward")) for name, module in model.named_modules()
    }
    assert model.config._attn_implementation == implementation
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert result(client, "/api/why", text=TEXT) == page(
        [speaking.explainer.explain_prediction(TEXT, edges="all")]
    )


def test_two_clients_each_get_their_own_answer(connect: Connect, speaking: Offered) -> None:
    first = connect(models=[speaking])
    second, texts = TestClient(first.app, base_url=str(first.base_url)), (TEXT, "The river is long. Rome")
    pages: dict[str, str] = {}

    def ask(client: TestClient, text: str) -> None:
        pages[text] = result(client, "/api/why", text=text)

    threads = [threading.Thread(target=ask, args=pair) for pair in zip((first, second), texts, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert pages == {text: page([speaking.explainer.explain_prediction(text, edges="all")]) for text in texts}
