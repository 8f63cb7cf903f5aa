"""What is said about the package outside it agrees with its metadata."""

import tomllib

import yaml

from hypernudge.cli.extras import MODULES
from tests.harness.tools import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_citation_is_of_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0" and cited["message"]
    assert (cited["title"], cited["version"]) == (PROJECT["name"], PROJECT["version"])
    assert cited["abstract"] == PROJECT["description"] and cited["license"] == PROJECT["license"]
    assert cited["authors"] == PROJECT["authors"] and cited["keywords"] == PROJECT["keywords"]


def test_a_missing_module_leads_to_an_extra_that_installs_it():
    imported_as = {"hydra-core": "hydra", "scikit-learn": "sklearn", "mlflow-skinny": "mlflow"}
    for extra, modules in MODULES.items():
        required = [text.split(">")[0] for text in PROJECT["optional-dependencies"][extra]]
        assert {imported_as.get(name, name.replace("-", "_")) for name in required} <= set(modules), extra
