"""Reading somebody else's results runs, imports and unpickles nothing, and writes its output alone."""

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.security import hostile
from tests.security.guarded import VIOLATION

ROOT = Path(__file__).resolve().parents[2]
GUARD = Path(__file__).with_name("guarded.py")


def guarded(folder, directory, writable, **work):
    """Run the guard on `work`; return the finished process."""
    private = folder / "private"
    private.mkdir(exist_ok=True)
    settings = {"hostile": str(directory), "own_tree": str(ROOT)}
    settings |= {"writable": [str(private), *map(str, writable)], **work}
    (folder / "settings.json").write_text(json.dumps(settings))
    homes = ("HOME", "TMPDIR", "MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    env = {**os.environ, **dict.fromkeys(homes, str(private)), "HOSTILE_SECRET": hostile.SECRET}
    env |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    # From within the directory, as one does; like the installed command, its folder is not on the path.
    command = [sys.executable, str(GUARD), str(folder / "settings.json")]
    return subprocess.run(command, env=env, cwd=directory, capture_output=True, text=True, check=False)


def snapshot(folder):
    """Return what lies in a folder: path -> contents, links unfollowed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path)] = str(path.readlink())
        elif path.is_file():
            found[str(path)] = path.read_bytes()
        else:
            found[str(path)] = None
    return found


PLANTS = {
    "imports a module of the directory": "import sys; sys.path.insert(0, {hostile!r}); import trap",
    "runs a file of the directory": "import runpy; runpy.run_path({hostile!r} + '/trap.py')",
    "system": "import os; os.system('true')",
    "a process": "import subprocess; subprocess.run(['true'])",
    "git elsewhere": "import subprocess; subprocess.run(['git', '-C', {hostile!r}, 'status'])",
    "spawn": "import os; os.posix_spawn('/bin/true', ['true'], {{}})",
    "exec": "import os; os.execv('/bin/true', ['true'])",
    "fork": "import os; os.fork()",
    "unpickles": "import pickle, os; pickle.loads(pickle.dumps(os.getcwd))",
    "writes into the directory": "open({hostile!r} + '/new', 'w')",
    "appends": "open({hostile!r} + '/trap.py', 'ab')",
    "writes by descriptor": "import os; os.open({hostile!r} + '/trap.py', os.O_WRONLY)",
    "writes through a link": "open({output!r} + '/link/new', 'w')",
    "writes to a link": "open({output!r} + '/file', 'w')",
    "moves": "import os; os.replace({output!r} + '/mine', {hostile!r} + '/mine')",
    "removes": "import os; os.unlink({hostile!r} + '/trap.py')",
    "makes a folder": "import os; os.mkdir({hostile!r} + '/folder')",
    "opens a database": "import sqlite3; sqlite3.connect({hostile!r} + '/x.db')",
    "connects": "import socket; socket.socket().connect(('127.0.0.1', 9))",
}


@pytest.fixture
def planted(tmp_path):
    directory, output = tmp_path / "hostile", tmp_path / "output"
    directory.mkdir()
    output.mkdir()
    (directory / "trap.py").write_text("")
    (output / "link").symlink_to(directory)
    (output / "file").symlink_to(directory / "trap.py")
    (output / "mine").write_text("")
    return directory, output


@pytest.mark.parametrize("kind", PLANTS)
def test_the_hook_catches_what_it_should(planted, tmp_path, kind):
    directory, output = planted
    code = PLANTS[kind].format(hostile=str(directory), output=str(output))
    before = snapshot(directory)
    done = guarded(tmp_path, directory, [output], plant=code)
    assert done.returncode == VIOLATION, (kind, done.returncode, done.stderr)
    assert "VIOLATION" in done.stderr and snapshot(directory) == before


def test_the_hook_lets_pass_what_it_should(planted, tmp_path):
    directory, output = planted
    code = f"""
import json, os
open({str(directory)!r} + '/trap.py').read()
open({str(output)!r} + '/new', 'w').write('x')
os.replace({str(output)!r} + '/new', {str(output)!r} + '/newer')
os.mkdir({str(output)!r} + '/folder')
"""
    done = guarded(tmp_path, directory, [output], plant=code)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """Every reading command on the hostile directory, in one guarded process."""
    pytest.importorskip("mlflow", reason="exporting needs hypernudge[trackers]")
    folder = tmp_path_factory.mktemp("security")
    mark, out = folder / "private" / "executed", folder / "out"
    out.mkdir()
    directory = hostile.write(folder / "results", mark)
    foreign = hostile.write_foreign(folder / "foreign", mark)
    before = snapshot(directory)
    results, output = str(directory), str(out)
    commands = [
        ["status", results],
        ["status", results, "--json"],
        ["doctor", results],
        ["doctor", results, "--json"],
        ["explain", results],
        ["explain", results, "--json", "--run-id", "optimizer"],
        ["explain", results, "--run-id", "task", "--figures", f"{output}/decisions"],
        ["explain", results, "--run-id", "data", "--figures", f"{output}/decisions"],
        ["prior", "build", results, "--output", f"{output}/prior.json"],
        ["export", results, "--to", "mlflow", "--store", f"sqlite:///{output}/runs.db"],
        ["report", results, "--html", f"{output}/report.html", "--notebook", f"{output}/report.ipynb"],
        ["dash", results, "--export", f"{output}/page.html"],
        ["compare", f"{foreign}/runs.csv", "--baseline", hostile.LATEX, "--target", "0.5"],
        [
            *("compare", f"{foreign}/runs.csv", "--baseline", hostile.LATEX, "--target", "0.5"),
            *("--figures", f"{output}/compared"),
        ],
        ["import", "ray-tune", f"{foreign}/ray", "--metric", "score", "--output", f"{output}/ray.csv"],
        ["simulate", "--curves", f"{foreign}/curves.npz", "--scheduler", "asha"],
    ]
    writable = [out, directory / "tables", directory / "figures"]
    writable += [directory / "evaluation.json"]
    done = guarded(folder, directory, writable, commands=commands)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = {tuple(row["command"]): row for row in map(json.loads, done.stdout.splitlines())}
    assert len(rows) == len(commands)
    return {"rows": rows, "dir": directory, "out": out, "before": before, "mark": mark}


def of(read, *words):
    """Return the rows of commands that begin with `words`."""
    return [row for command, row in read["rows"].items() if command[: len(words)] == words]


def test_nothing_was_run_and_nothing_else_was_written(read):
    assert not read["mark"].exists()
    outputs = [str(read["dir"] / name) for name in ("tables", "figures", "evaluation.json")]
    after = {k: v for k, v in snapshot(read["dir"]).items() if not k.startswith(tuple(outputs))}
    assert after == read["before"]


def test_no_command_fails_with_a_traceback_or_shows_the_environment(read):
    for row in read["rows"].values():
        assert row["code"] in (0, 1, 2), row
        assert "Traceback" not in row["err"], row
        assert hostile.SECRET not in row["out"] + row["err"]
    for path, contents in (snapshot(read["out"]) | snapshot(read["dir"])).items():
        assert hostile.SECRET.encode() not in (contents or b""), path


def test_nothing_reaches_the_terminal_that_could_steer_it(read):
    for row in read["rows"].values():
        for character in (row["out"] + row["err"]).replace("\n", ""):
            assert character.isprintable(), (row["command"], character)


def test_status_names_what_is_damaged_and_waits_for_nothing(read):
    rows = [json.loads(line) for line in of(read, "status")[1]["out"].splitlines()]
    states = {row["run_id"]: row for row in rows}
    assert "nested deeper" in states["base"]["damaged"]["5"]
    assert "no regular file" in states["task"]["damaged"]["5"]
    assert states["model"]["missing"] == [5] and states["optimizer"]["done"] == list(hostile.SEEDS)


def test_the_doctor_names_what_is_damaged_and_touches_nothing(read):
    people, data = of(read, "doctor")
    assert people["code"] == data["code"] == 1
    found = {entry["path"]: entry for entry in json.loads(data["out"])["findings"]}
    assert "nested deeper" in found["base/cells/seed-0005.json"]["rule"]


def test_the_doctor_mends_within_the_directory_only(tmp_path):
    """`--fix` moves and removes what is in DIR; what a link leads to stays."""
    mark = tmp_path / "private" / "executed"
    directory = hostile.write(tmp_path / "results", mark)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "cells").mkdir(parents=True)
    for name in ("seed-0000.json", ".seed-0000.json.abcd", "seed-0000.lock", "seed-0000.partial.jsonl"):
        (elsewhere / "cells" / name).write_text("not a record")
    (directory / "linked").symlink_to(elsewhere)
    (directory / "base" / "cells" / "seed-0007.json").symlink_to(elsewhere / "cells" / "seed-0000.json")
    before = snapshot(elsewhere)
    done = guarded(tmp_path, directory, [directory], commands=[["doctor", str(directory), "--fix"]])
    assert done.returncode == 0, done.stderr[-3000:]
    (row,) = map(json.loads, done.stdout.splitlines())
    assert row["code"] in (0, 1) and "Traceback" not in row["err"]
    assert snapshot(elsewhere) == before and not mark.exists()


def test_explain_says_what_it_knows_and_builds_nothing(read):
    everything, optimizer, task, data = of(read, "explain")
    assert everything["code"] == 0 and "without effective rates" in everything["err"]
    rows = [json.loads(line) for line in optimizer["out"].splitlines()]
    assert len(rows) == 12 and all(row["rate"] is None for row in rows)
    assert "os:system" in optimizer["err"] and "known name" in optimizer["err"]
    assert task["code"] == 2 and "needs effective rates" in task["err"]
    assert data["code"] == 0 and len(list((read["out"] / "decisions").glob("*.pdf"))) == 1


def test_a_prior_is_learned_from_what_is_registered_by_name(read):
    (built,) = of(read, "prior")
    assert built["code"] == 0
    (row,) = (json.loads(line) for line in built["out"].splitlines())
    assert row["configurations"] % 12 == 0 and row["optimizer"] == "SGD"
    for refused in ("os:system", "evil:Task", "${oc.env:HOSTILE_SECRET}"):
        assert refused in built["err"], refused


def test_the_report_is_complete_and_its_labels_are_text(read):
    (report,) = of(read, "report")
    assert report["code"] == 1  # cells are missing, and that is said
    tables = read["dir"] / "tables"
    lines = (tables / "comparisons.csv").read_text().splitlines()
    assert any("'=HYPERLINK" in line for line in lines) and any(",'@SUM(1)," in line for line in lines)
    markdown = (tables / "comparisons.md").read_text()
    assert len({line.replace(r"\|", "").count("|") for line in markdown.splitlines()}) == 1
    assert "<script" not in markdown and re.search(r"(?<!\\)\]\(", markdown) is None
    latex = (tables / "comparisons.tex").read_text()
    assert r"\input" not in latex and r"\foo" not in latex and r"\textbackslash{}foo" in latex
    assert len(latex.splitlines()) == 6 + 6  # rules, head, and one line per comparison
    page = (read["out"] / "report.html").read_text()
    assert page.count("<script") == 1 and "default-src 'none'" in html.unescape(page.partition("<title>")[0])
    assert "<img" not in page and "\x1b" not in page
    assert len(list((read["dir"] / "figures").glob("*.pdf"))) > 5
    assert json.loads((read["dir"] / "evaluation.json").read_text())["status"] == "incomplete"


def test_the_page_is_complete_and_its_labels_are_text(read):
    pytest.importorskip("plotly", reason="the page needs hypernudge[dash]")
    (page,) = of(read, "dash")
    assert page["code"] == 0
    text = (read["out"] / "page.html").read_text()
    assert "exploratory" in text and "nested deeper" in text and "no regular file" in text
    assert text.count("<script") == 3
    data = text.partition('id="data"')[2].partition("</script>")[0]
    assert "\\u003cscript" in data and "<" not in data and "&" not in data and "\x1b" not in data


def test_other_peoples_files_are_data(read):
    text, drawn = of(read, "compare")
    assert text["code"] == 0 and "\\x1b" in text["out"]
    assert drawn["code"] == 0 and list((read["out"] / "compared").glob("*.pdf"))
    (imported,) = of(read, "import")
    assert imported["code"] == 0 and "'=1+1" in (read["out"] / "ray.csv").read_text()
    (simulated,) = of(read, "simulate")
    assert simulated["code"] == 2 and len(simulated["err"].splitlines()) == 1


@pytest.fixture
def small(tmp_path):
    """A harmless study, and a folder elsewhere that must stay as it is."""
    from tests.evidence.synthetic import write_study

    directory = write_study(tmp_path / "results", tasks=("a",), methods=("none", "literal"), seeds=range(6))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious.json").write_text("precious")
    return directory, elsewhere


def test_links_lead_no_writing_out_of_the_directory(small, tmp_path, capsys):
    from hypernudge import cli

    directory, elsewhere = small
    before = snapshot(elsewhere)
    for name in ("tables", "figures"):
        (directory / name).symlink_to(elsewhere)
        assert cli.main(["report", str(directory)]) == 2
        error = capsys.readouterr().err
        assert "must be no link" in error and name in error and len(error.splitlines()) == 1
        for option in ("--html", "--notebook"):
            assert cli.main(["report", str(directory), option, f"{directory}/{name}/x"]) == 2
        capsys.readouterr()
        (directory / name).unlink()
    (directory / "store").symlink_to(elsewhere)
    for store in (f"{directory}/store", f"sqlite:///{directory}/store/x.db"):
        assert cli.main(["export", str(directory), "--to", "mlflow", "--store", store]) == 2
    where = ["--figures", f"{directory}/store/x"]
    assert cli.main(["explain", str(directory), *where]) == 2
    prior = ["prior", "build", str(directory), "--output", f"{directory}/store/prior.json"]
    assert cli.main(prior) == 2
    for name in ("evaluation.json", "report.html"):  # replaced, never followed
        (directory / name).symlink_to(elsewhere / "precious.json")
    from hypernudge.evidence.report.evaluate import evaluate

    evaluate(directory, lambda event: None, figures=False, html=directory / "report.html")
    assert not (directory / "evaluation.json").is_symlink() and not (directory / "report.html").is_symlink()
    (directory / "a-asha-none").rename(tmp_path / "moved")
    (directory / "a-asha-none").symlink_to(tmp_path / "moved")
    held = snapshot(tmp_path / "moved")
    assert cli.main(["status", str(directory)]) == 0  # reading through a link is reading
    assert snapshot(tmp_path / "moved") == held and snapshot(elsewhere) == before


@pytest.mark.parametrize("run_id", ["../escape", "/tmp/escape", "a/../../b", "a\0b", "x" * 5000, "tables"])
def test_a_run_id_leads_no_command_out_of_the_directory(small, capsys, tmp_path, run_id):
    from hypernudge import cli

    directory, _ = small
    plan = json.loads((directory / "plan.json").read_text())
    plan["variations"][run_id] = plan["variations"].pop("a-asha-literal")
    (directory / "plan.json").write_text(json.dumps(plan))
    before = snapshot(tmp_path)
    for command in (
        ["status"],
        ["report"],
        ["explain"],
        ["explain", "--run-id", run_id],
        ["export", "--to", "mlflow", "--store", str(tmp_path / "store")],
    ):
        assert cli.main([command[0], str(directory), *command[1:]]) == 2
        error = capsys.readouterr().err
        assert "a run id must" in error and len(error.splitlines()) == 1 and len(error) < 1000
    assert cli.main(["prior", "build", str(directory), "--output", str(tmp_path / "p.json")]) == 2
    assert snapshot(tmp_path) == before
