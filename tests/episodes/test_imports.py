"""The rooms of the episodes: which may import which."""

from scripts import import_graph

# Lowest first: a room may import the rooms before its own.
ORDER = (
    *("checks", "kinds", "ranks", "context", "bandits", "noise", "rewards", "records", "trained_weights"),
    *("axes", "controllers", "lifecycle", "scheduler", "plots", "pulseopt"),
)


def test_imports_point_down():
    known = import_graph.modules()
    found = set()
    for module, path in known.items():
        if module.startswith("episodes."):
            room = module.split(".")[1]
            for other in import_graph.imports(path, known):
                if other.startswith("episodes.") and other.split(".")[1] != room:
                    found.add((room, other.split(".")[1]))
    assert {room for pair in found for room in pair} <= set(ORDER)
    assert len(found) > 20
    assert [(a, b) for a, b in found if ORDER.index(a) < ORDER.index(b)] == []
    assert not [pair for pair in found if pair[0] == "checks"]
