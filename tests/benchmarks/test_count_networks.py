"""docs/models.md shows what the networks are."""

import json
from pathlib import Path

import count_networks
import pytest
from result_pages import replace_block

from videosoft.models import list_models

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / count_networks.DOCUMENT).read_text(encoding="utf-8")
COMMITTED = json.loads(count_networks.RESULTS.read_text(encoding="utf-8"))["rows"]
HINT = "run `python benchmarks/count_networks.py`"


def test_the_document_shows_the_committed_figures() -> None:
    assert [(row["name"], row["num_classes"], *row["clip"][:2]) for row in COMMITTED] == count_networks.ROWS, HINT
    block = count_networks.render_block(COMMITTED)
    marks = count_networks.BEGIN, count_networks.END, count_networks.DOCUMENT
    assert replace_block(DOCUMENT, block, *marks) == DOCUMENT, HINT


def test_every_network_is_in_it() -> None:
    # Other tests register probes of their own in the same process.
    models = {name for name in list_models() if not name.endswith("_probe")}
    assert {name for name, *_ in count_networks.ROWS} == models
    # Counted, and described with its source, pooling and weights.
    assert all(DOCUMENT.count(f"| `{name}` |") >= 2 for name in models)


@pytest.mark.parametrize("index", [0, 3, 8, 16])
def test_the_committed_figures_are_those_of_the_networks(index: int) -> None:
    assert count_networks.count_row(*count_networks.ROWS[index]) == COMMITTED[index], HINT
