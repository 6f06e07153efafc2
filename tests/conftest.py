"""Shape and type checks on: every call into ligflow is checked against its jaxtyping signature."""

import os
from collections.abc import Iterator

import pytest
import torch
from jaxtyping import config, install_import_hook

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
install_import_hook("ligflow", "beartype.beartype")


@pytest.fixture(autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tiny models run faster on one thread; real ones (slow tests) take what there is."""
    available = torch.get_num_threads()
    torch.set_num_threads(available if request.node.get_closest_marker("slow") else 1)
    yield
    torch.set_num_threads(available)


@pytest.fixture
def no_shape_checks() -> Iterator[None]:
    """Without run-time shape checks, for the many cases of a test that other cases run with them."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
