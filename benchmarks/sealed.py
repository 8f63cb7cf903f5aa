"""The sealed cells of a study, as `hypernudge run` left them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hypernudge.results.plan import Variation, read_manifest
from hypernudge.results.records import Record, cell_path, read_record


def sealed(results: Path) -> Iterator[tuple[Variation, int, Record]]:
    """Yield variation, seed and record of each cell that there is, in the plan's order.

    Cells that were run with a recorded deviation from the plan count; crashed ones are there too.

    Raises:
        ResultsError: The directory holds no plan that can be read.
        DamagedRecordError: A record is not believed.
    """
    manifest = read_manifest(results)
    for variation in manifest.variations:
        for seed in variation.seeds:
            path = cell_path(results / variation.run_id, seed)
            record = read_record(path, manifest.planned(variation, seed))
            if record is not None:
                yield variation, seed, record
