"""What the tests of imports share."""

import pandas as pd
import pytest

from hypernudge.errors import InvalidArgumentError
from hypernudge.evidence.importers import import_results


def imported(tool, source, tmp_path, **options):
    output = tmp_path / f"out-{len(list(tmp_path.glob('out-*')))}.jsonl"
    summary = import_results(tool, str(source), output, **options)
    return pd.read_json(output, lines=True, precise_float=True), summary


def refused(tool, source, tmp_path, **options):
    with pytest.raises(InvalidArgumentError) as caught:
        import_results(tool, str(source), tmp_path / "refused.csv", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "refused.csv").exists()
    return str(caught.value)
