"""How far a shard is that another process computes."""

from pathlib import Path

import pytest

from ligflow.corpus.runs.watch import Watch, counting, look

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_how_far_a_shard_is_that_another_process_computes(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    watch = Watch(lambda: False, lambda *now: heard.append(now), print, print)
    with counting(tmp_path, 7) as ticked:
        ticked(7, 2)
        look(watch, tmp_path, [7, 8])
        ticked(7, 5)
        look(watch, tmp_path, [7])
        ticked(7, 0)  # begun again
        look(watch, tmp_path, [7])
    look(watch, tmp_path, [7])
    assert heard == [(7, 2), (8, 0), (7, 5), (7, 0), (7, 0)]
    assert not list(tmp_path.glob("shards/.*"))
