"""The queue: order, places, cancelling, forgetting, failing."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from ligflow.errors import LigflowError
from ligflow.serve import app as application
from ligflow.serve import jobs
from ligflow.serve.jobs import Full, Progress, Queue, Result, Unfinished, Unknown
from served import ASK, LIMITS, PATIENCE, Held, assert_refused, over, post, until


def test_jobs_are_computed_one_at_a_time_in_order(client: TestClient, held: list[Held]) -> None:
    first = post(client)["id"]
    assert held[0].began.wait(PATIENCE)
    second, third = post(client), post(client)
    assert [second["place"], third["place"]] == [1, 2]
    held[0].go.release()
    until(lambda: client.get(f"/api/jobs/{first}").json(), lambda told: told["done"] == 1)
    assert not held[1].began.is_set()
    held[0].go.release()
    assert over(client, first)["state"] == "done"
    assert held[1].began.wait(PATIENCE)
    assert client.get(f"/api/jobs/{third['id']}").json()["place"] == 1
    assert client.get(f"/api/jobs/{first}/result").content == b"flow"


def test_a_waiting_job_is_cancelled_at_once(client: TestClient, held: list[Held]) -> None:
    post(client)
    assert held[0].began.wait(PATIENCE)
    second, third = post(client)["id"], post(client)["id"]
    assert client.delete(f"/api/jobs/{second}").json()["state"] == "cancelled"
    assert client.get(f"/api/jobs/{third}").json()["place"] == 1
    assert_refused(client.get(f"/api/jobs/{second}/result"), 409, "cancelled")
    assert client.delete(f"/api/jobs/{second}").json()["state"] == "cancelled"
    for _ in range(2):
        held[0].go.release()
    assert held[2].began.wait(PATIENCE)
    assert not held[1].began.is_set()


def test_a_running_job_is_cancelled_at_the_next_layer(client: TestClient, held: list[Held]) -> None:
    name = post(client)["id"]
    assert held[0].began.wait(PATIENCE)
    assert client.delete(f"/api/jobs/{name}").json()["cancelling"]
    assert client.get(f"/api/jobs/{name}").json()["state"] == "running"
    held[0].go.release()
    assert over(client, name) | {"done": 1} == client.get(f"/api/jobs/{name}").json()
    assert client.get(f"/api/jobs/{name}").json()["state"] == "cancelled"
    post(client)
    assert held[1].began.wait(PATIENCE)


def test_a_real_computation_is_cancelled_and_the_next_one_is_right(client: TestClient) -> None:
    name = post(client, layers=None, tol=1e-4)["id"]
    until(lambda: client.get(f"/api/jobs/{name}").json(), lambda told: told["state"] == "running")
    client.delete(f"/api/jobs/{name}")
    told = over(client, name)
    assert told["state"] == "cancelled"
    assert told["done"] < 6
    assert over(client, post(client)["id"])["state"] == "done"


def test_a_full_queue_refuses(client: TestClient, held: list[Held]) -> None:
    post(client)
    assert held[0].began.wait(PATIENCE)
    names = [post(client)["id"] for _ in range(LIMITS.queue)]
    answer = client.post("/api/flows", json=ASK)
    assert_refused(answer, 503, "3 requests are waiting", "try again")
    assert int(answer.headers["retry-after"]) > 0
    client.delete(f"/api/jobs/{names[0]}")
    post(client)


def test_old_jobs_are_dropped(client: TestClient, held: list[Held]) -> None:
    names = []
    for number in range(3):
        names.append(post(client)["id"])
        for _ in range(2):
            until(lambda: len(held), lambda count, number=number: count == number + 1)
            held[number].go.release()
        over(client, names[-1])
    for path in ("", "/result"):
        assert_refused(
            client.get(f"/api/jobs/{names[0]}{path}"), 404, names[0], "more than 2", "send the text"
        )
    assert client.get(f"/api/jobs/{names[1]}/result").content == b"flow"


def test_results_are_dropped_by_their_size_too() -> None:
    with Queue(keep=9, keep_bytes=10) as queue:
        names = [queue.add(lambda told, size=size: Result(bytes(size)))["id"] for size in (6, 6, 20)]
        until(lambda: queue.state(names[2])["state"], lambda state: state == "done")
        assert len(queue.result(names[2]).content) == 20
        for name in names[:2]:
            with pytest.raises(Unknown):
                queue.result(name)


def test_no_flow_before_its_time(client: TestClient, held: list[Held]) -> None:
    first = post(client)["id"]
    assert held[0].began.wait(PATIENCE)
    assert_refused(client.get(f"/api/jobs/{first}/result"), 409, "running")
    assert_refused(client.get(f"/api/jobs/{post(client)['id']}/result"), 409, "queued")


@pytest.mark.parametrize(
    ("raised", "said"),
    [(LigflowError("Choose another baseline."), "Choose another baseline."), (KeyError("secret"), "its log")],
)
def test_a_failed_job_says_why_and_the_next_goes_on(
    client: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    raised: Exception,
    said: str,
) -> None:
    def work(*_: Any) -> Callable[[Progress], Result]:
        def fails(told: Progress) -> Result:
            raise raised

        return fails

    with monkeypatch.context() as patch:
        patch.setattr(application, "work_of", work)
        told = over(client, post(client)["id"])
    assert told["state"] == "failed"
    assert said in told["error"]
    assert "secret" not in told["error"]
    assert ("secret" in caplog.text) == isinstance(raised, KeyError)
    assert_refused(client.get(f"/api/jobs/{told['id']}/result"), 409, "failed", said)
    assert over(client, post(client)["id"])["state"] == "done"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock of the queue, which stands at its last entry."""
    now = [0.0]
    monkeypatch.setattr(jobs, "monotonic", lambda: now[-1])
    return now


def test_jobs_of_clients_that_have_gone_free_their_places(
    client: TestClient, held: list[Held], clock: list[float]
) -> None:
    """One that is at work, one that waits, and one that is still asked about."""
    left, waiting, asked = (post(client)["id"] for _ in range(3))
    assert held[0].began.wait(PATIENCE)
    clock.append(0.9 * LIMITS.patience)
    assert client.get(f"/api/jobs/{asked}").json()["place"] == 2
    clock.append(1.1 * LIMITS.patience)
    post(client)
    assert client.get(f"/api/jobs/{asked}").json()["place"] == 1
    held[0].go.release()
    assert held[2].began.wait(PATIENCE)
    for name in (left, waiting):
        told = client.get(f"/api/jobs/{name}").json()
        assert told["state"] == "cancelled"
        assert "Nobody asked about this job for 600 s" in told["error"]
        assert_refused(client.get(f"/api/jobs/{name}/result"), 409, "given up", "send it again")
    assert not held[1].began.is_set()
    held[2].go.release(2)
    assert over(client, asked)["state"] == "done"


def test_places_of_clients_that_have_gone_are_given_to_others(
    client: TestClient, held: list[Held], clock: list[float]
) -> None:
    post(client)
    assert held[0].began.wait(PATIENCE)
    for _ in range(LIMITS.queue):
        post(client)
    assert_refused(client.post("/api/flows", json=ASK), 503, "waiting already")
    clock.append(2.0 * LIMITS.patience)
    assert post(client)["place"] == 1


def test_closing_ends_the_work() -> None:
    work = Held()
    with Queue(limit=1) as queue:
        queue.add(work)
        assert work.began.wait(PATIENCE)
        waiting = queue.add(lambda told: Result(b""))["id"]
        with pytest.raises(Full):
            queue.add(lambda told: Result(b""))
        work.go.release()
    assert not queue._thread.is_alive()
    with pytest.raises(Unfinished):
        queue.result(waiting)
