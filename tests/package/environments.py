"""Fresh environments with a wheel in them, and of other packages only what its metadata asks for.

Nothing is downloaded: the distributions that the wheel requires are linked from the environment of the tests.
"""

import os
import subprocess
import sys
import venv
import zipfile
from email import message_from_bytes
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SHARED = {"..", "bin", "share", "etc", "include", "__pycache__"}


def build(root, folder, target="wheel"):
    """Build a wheel or source distribution of the project in `root` into `folder`; return the file."""
    given = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    done = subprocess.run(given, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = (path for path in Path(folder).iterdir() if (path.suffix == ".whl") == (target == "wheel"))
    return built


def members(wheel):
    """Return the names and contents of a wheel's files."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def requirements_of(wheel):
    """Return what a wheel's metadata requires, extras included."""
    (text,) = (data for name, data in members(wheel).items() if name.endswith(".dist-info/METADATA"))
    return message_from_bytes(text).get_all("Requires-Dist") or []


def closure(requirements, extras=("",)):
    """Return the distributions here that requirements ask for, and theirs in turn."""
    found: dict[str, Distribution] = {}
    waiting = [(text, extra) for text in requirements for extra in extras]
    seen = set()
    while waiting:
        text, extra = waiting.pop()
        if (text, extra) in seen:
            continue
        seen.add((text, extra))
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # kept out by an override: a library for several GPUs, say
            continue
        further = found[name].requires or []
        waiting += [(below, wanted) for below in further for wanted in ("", *requirement.extras)]
    return found


class Environment:
    """A virtual environment with a wheel, and links to the distributions that it asks for.

    Args:
        folder: Where it is made.
        wheel: Installed without its dependencies.
        extras: Those of the wheel whose dependencies are there.
    """

    def __init__(self, folder, wheel, extras=()):
        venv.create(folder, symlinks=True, with_pip=False)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.bin, site = folder / "bin", folder / "lib" / version / "site-packages"
        # A pure wheel is installed by unpacking it, and writing its command.
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
        command = self.bin / "hypernudge"
        command.write_text(
            f"#!{self.bin / 'python'}\nimport sys\nfrom hypernudge.cli import main\n"
            "if __name__ == '__main__':\n    sys.exit(main())\n"
        )
        command.chmod(0o755)
        for found in closure(requirements_of(wheel), ("", *extras)).values():
            for name in {file.parts[0] for file in found.files or ()} - SHARED:
                place = Path(str(found.locate_file(name)))
                if place.exists() and not (site / name).exists():
                    (site / name).symlink_to(place)

    def run(self, *arguments, cwd, code=0, program="hypernudge"):
        """Run a command in it; return its standard output and error, once its exit code is as expected."""
        mine = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HOME": str(cwd), "LC_ALL": "C.UTF-8"}
        given = [str(self.bin / program), *map(str, arguments)]
        done = subprocess.run(given, cwd=cwd, env=mine, capture_output=True, text=True, check=False)
        assert done.returncode == code, f"{arguments}: {done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout, done.stderr
