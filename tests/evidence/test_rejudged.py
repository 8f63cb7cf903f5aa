"""Published comparisons again: the cells give the published ratios, and the old rule the verdicts."""

import pytest

from benchmarks.evidence import published
from benchmarks.evidence.rejudged import RESULTS, _run, blocks, criteria_rows, judged, rows, tool_rows


@pytest.fixture(scope="module")
def chosen():
    return [block for block in blocks() if block.name in ("boil", "character_model", "resnet_fresh", "raw")]


def test_the_cells_give_what_was_published(chosen):
    found = [row for block in chosen for row in rows(judged(block))]
    found += tool_rows(RESULTS / "tools_effect" / "first_edition" / "architecture")
    assert len(found) == 6 + 2 + 1 + 36 + 4
    for row in found:
        assert row["same ratio"] and row["old"] == row["published"], row
    assert {row["new"] for row in found} == {"improved", "harmed", "equivalent", "inconclusive"}


def test_the_page_names_what_differs(chosen):
    boil = next(block for block in chosen if block.name == "boil")
    both = judged(boil)
    found, criteria = list(rows(both)), list(criteria_rows(both, boil.folder))
    page = published.summary(found, criteria)
    assert "Verdicts that differ: 0." in page
    final = next(row for row in criteria if row["criterion"] == "final_score")
    assert (final["published"], final["new"]) == ("inconclusive", "supported")
    assert "| boil | informed | final_score | 6 | 6 | 6 |" in page
    other = [{**row, "published": "harmed"} for row in found[:1]]
    assert "Verdicts that differ: 1." in published.summary(other, criteria)


def test_a_run_is_found_where_all_tasks_have_one_space():
    runs = {"digits_mlp-asha-none", "digits_mlp-stopping-informed", "digits_cnn-asha-none"}
    for label in ("asha-none", "stopping-informed"):
        assert _run(runs, "digits_mlp_adamw", "any", label) == f"digits_mlp-{label}"
    with pytest.raises(ValueError, match="no cells of it"):
        _run(runs, "digits_cnn_adamw", "any", "stopping-informed")
