"""What is found in a folder, experiments as they stand, and the server around it."""

import asyncio
import json
import os

import pytest

from hypernudge import cli
from hypernudge.dash.discovery import sources
from hypernudge.dash.experiment_view import ExperimentView
from hypernudge.dash.server import bound, host_of
from hypernudge.dash.site import Site
from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.cells.checkpoint import study_folder
from hypernudge.harness.cells.records import claim
from hypernudge.results.records import cell_path
from tests.dash.kept import Writer, keep
from tests.evidence.synthetic import edit_record, write_study
from tests.study.synthetic import study_of

HTML = "<script>alert(1)</script>"


def table(page, name):
    (found,) = (table for table in page["tables"] if table["name"] == name)
    names = [column for column, _ in found["columns"]]
    return [dict(zip([*names, "leads to"], row, strict=True)) for row in found["rows"]]


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory):
    """An experiment of which one method has 3 of 30 pairs."""
    folder = tmp_path_factory.mktemp("experiment") / "results"
    drop = [("a-asha-literal", seed) for seed in range(3, 30)]
    return write_study(folder, tasks=("a",), methods=("none", "literal"), seeds=range(30), drop=drop)


def test_studies_and_experiments_are_found_and_links_are_not_followed(tmp_path):
    root = tmp_path / "root"
    keep(root / "one", study_of(trials=3))
    keep(root / "deep" / "er" / "two", study_of(trials=3))
    write_study(root / "results", tasks=("a",), methods=("none",), seeds=range(1))
    keep(root / "results" / "inside", study_of(trials=3))
    keep(root / ".hidden" / "x", study_of(trials=3))
    keep(tmp_path / "elsewhere", study_of(trials=3))
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "deep" / "study.jsonl")
    found = {source.name: source.kind for source in sources(root)}
    assert found == {"one": "study", "deep/er/two": "study", "results": "experiment"}
    assert [source.name for source in sources(root / "one")] == ["one"]
    site = Site(root)
    rows = table(site.data(whole=True), "sources")
    assert [row["name"] for row in rows] == ["deep/er/two", "one", "results"]
    assert "3 trials" in rows[1]["what it is"] and "1 done" in rows[2]["what it is"]
    for row in rows:
        assert site.page([row["leads to"]]).data()["kind"] == row["kind"]
    for nowhere in (
        ["x"],
        ["..", "..", "1"],
        [rows[0]["leads to"], "a", "0"],
        [rows[2]["leads to"], "..", "0"],
    ):
        assert site.page(nowhere) is None
    keep(root / "three", study_of(trials=3))
    assert len(table(site.data(whole=True), "sources")) == 4


def test_verdicts_stand_as_they_are(unfinished):
    page = ExperimentView(unfinished, "results").data(whole=True)
    (verdict,) = table(page, "verdicts")
    assert verdict["verdict"] == "3 of 30 pairs: exploratory" and "as it stands" in verdict["why"]
    assert page["progress"] == [33, 60] and page["state"] == "incomplete"
    assert any("27 planned cells count as missing" in note for note in page["notes"])
    assert {chart["name"] for chart in page["charts"]} == {"ratios", "incumbent_0"}
    json.dumps(page, allow_nan=False)
    cells = table(page, "cells")
    assert [cell["state"] for cell in cells].count("missing") == 27
    assert cells[0]["leads to"] == "a-asha-none/0" and cells[0]["best"] > 0.5 and cells[0]["trials"] > 10
    assert cells[-1]["leads to"] is None


def test_a_whole_experiment_has_its_verdict(tmp_path):
    folder = write_study(tmp_path / "r", tasks=("a",), methods=("none", "literal"), seeds=range(8))
    page = ExperimentView(folder, "r").data(whole=True)
    (verdict,) = table(page, "verdicts")
    assert verdict["verdict"] in ("improved", "harmed", "equivalent", "inconclusive", "unpowered")
    assert page["state"] == "complete" and page["notes"] == []


def test_a_cell_has_a_page_while_it_runs_and_after(tmp_path):
    drop = [("a-asha-literal", 2)]
    folder = write_study(tmp_path / "r", tasks=("a",), methods=("none", "literal"), seeds=range(3), drop=drop)
    view = ExperimentView(folder, "r")
    path = cell_path(folder / "a-asha-literal", 2)
    with claim(path):
        writer = Writer(study_folder(path), study_of(trials=10))
        writer.write(8)
        row = table(view.data(whole=True), "cells")[-1]
        page = view.cell("a-asha-literal", 2)
        assert row["state"] == "running" and "on " in row["remarks"] and row["trials"] > 1
        assert len(table(page.data(whole=True), "trials")) == row["trials"]
        writer.write()
        assert table(view.data(whole=True), "cells")[-1]["trials"] == 10
        assert len(table(page.data(whole=True), "trials")) == 10
    writer.close()
    other = cell_path(folder / "a-asha-literal", 1)
    record = json.loads(other.read_text())
    path.write_text(json.dumps(record))
    edit_record(path, lambda own: own["cell"].update(seed=2))
    row = table(view.data(whole=True), "cells")[-1]
    assert row["state"] == "done" and len(table(page.data(whole=True), "trials")) == row["trials"] > 10
    assert view.cell("a-asha-literal", 3) is None and view.cell("..", 0) is None


def test_a_damaged_record_is_said_and_not_used(tmp_path):
    folder = write_study(tmp_path / "r", tasks=("a",), methods=("none", "literal"), seeds=range(4))
    path = cell_path(folder / "a-asha-none", 1)
    edit_record(path, lambda record: record["cell"].update(task=HTML))
    view = ExperimentView(folder, "r")
    page = view.data(whole=True)
    cells = {(row["variation"], row["seed"]): row for row in table(page, "cells")}
    assert cells["a-asha-none", 1]["state"] == "damaged" and "not used" in cells["a-asha-none", 1]["remarks"]
    assert table(page, "verdicts")[0]["verdict"] == "3 of 4 pairs: exploratory"
    assert view.data(page["mark"], whole=True) is None  # nothing is read twice, nothing changed
    (folder / "plan.json").write_text("{")
    os.utime(folder / "plan.json", (1, 1))
    assert "plan.json" in view.data(whole=True)["error"]


def ask(application, path="/", query="", *, host="127.0.0.1:8787", method="GET", encoding=""):
    """Ask an application as a server does; return status, headers and body."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    headers = [(b"host", name.encode()) for name in ([host] if isinstance(host, str) else host)]
    headers += [(b"accept-encoding", encoding.encode())] if encoding else []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
    }
    scope |= {"path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": ""}
    scope |= {"headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8787)}
    asyncio.run(application(scope, receive, send))
    head = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], head, b"".join(message.get("body", b"") for message in sent[1:])


@pytest.fixture(scope="module")
def application(tmp_path_factory):
    pytest.importorskip("starlette", reason="needs hypernudge[dash]")
    pytest.importorskip("plotly", reason="needs hypernudge[dash]")
    from hypernudge.dash.server import app

    folder = tmp_path_factory.mktemp("served")
    keep(folder / HTML.replace("/", "-"), study_of(trials=12, task=HTML, metric=HTML))
    return app(Site(folder))


def test_the_server_answers_reading_alone(application):
    status, head, body = ask(application)
    assert status == 200 and b"assets/dash.js" in body and "text/html" in head["content-type"]
    policy = head["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe-eval" not in policy
    assert head["x-content-type-options"] == "nosniff" and b"<script>" not in body and b"style=" not in body
    for name in ("page.css", "dash.js", "plotly.js"):
        assert ask(application, f"/assets/{name}", encoding="gzip")[0] == 200
    for path in ("/assets/../server.py", "/assets/x", "/etc/passwd", "/docs"):
        assert ask(application, path)[0] == 404
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(application, "/data", method=method)[0] == 405


def test_the_server_sends_what_changed(application):
    status, _, body = ask(application, "/data")
    listed = json.loads(body)
    own = listed["tables"][0]["rows"][0][-1]
    status, _, body = ask(application, "/data", f"of={own}")
    page = json.loads(body)
    assert status == 200 and page["kind"] == "study" and len(table(page, "trials")) == 12
    while True:  # importance is being worked out
        status, _, body = ask(application, "/data", f"of={own}&since={page['mark']}")
        if status == 204:
            break
        page = json.loads(body)
        assert not page["whole"]
    assert body == b""
    assert ask(application, "/data", "of=nothing")[0] == 404
    assert ask(application, "/data", f"of={own}&of=x&of=0")[0] == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8787", "127.0.0.1.evil.example", "", [], ["a", "b"]]
)
def test_a_name_of_a_stranger_is_refused(application, host):
    assert ask(application, "/data", host=host)[0] == 421


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8787", "localhost", "LOCALHOST:1", "[::1]:8787", "192.168.1.7:8787"]
)
def test_our_names_and_addresses_are_served(application, host):
    assert ask(application, host=host)[0] == 200


def test_the_name_in_a_header():
    assert [host_of(h) for h in ("a:1", "[::1]:80", "A.b", "")] == ["a", "::1", "a.b", ""]


def test_the_port_is_another_where_the_usual_one_is_taken():
    with bound("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidArgumentError, match="--host, --port: must be an address that is free"):
            bound("127.0.0.1", port)
    with bound("127.0.0.1", None) as one, bound("127.0.0.1", None) as other:
        assert one.getsockname()[1] != other.getsockname()[1]
    with pytest.raises(InvalidArgumentError, match="--port: must be in"):
        bound("127.0.0.1", 70000)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "DIR: must be a folder of studies"),
        (["nowhere", "--export", "page.html"], "DIR: must be a folder of studies"),
        ([".", "--export", "page.txt"], "--export: must end in .html"),
        ([".", "--port", "70000"], "--port: must be in"),
    ],
)
def test_mistakes_are_said_in_a_line(words, said, tmp_path, monkeypatch, capsys):
    pytest.importorskip("plotly", reason="needs hypernudge[dash]")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["dash", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1


def test_what_is_not_installed_is_said(monkeypatch, capsys, tmp_path):
    from hypernudge.cli import extras

    find = extras.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    monkeypatch.setitem(extras.MODULES, "dash", ("uvicorn",))
    assert cli.main(["dash", str(tmp_path)]) == 2
    assert "pip install 'hypernudge[dash]'" in capsys.readouterr().err
