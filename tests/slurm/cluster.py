"""A Slurm cluster of several nodes on this one machine, for tests: installed, started, broken and stopped.

    python tests/slurm/cluster.py install [--accounting]        # Debian packages; needs root
    python tests/slurm/cluster.py run [--accounting] COMMAND..  # on a cluster that is gone afterwards
    python tests/slurm/cluster.py start DIR [--accounting]      # prints the line to put into a shell
    python tests/slurm/cluster.py stop DIR

There is no systemd in it: munge, slurmctld and one slurmd for each node are children of a process, or of
nobody after `start`; everything they write lies in DIR. They listen on loopback only. With `--accounting`
MariaDB and slurmdbd run, too, and jobs run in cgroups of version 1 where this machine lets us make them.
Each node has two processors, four gigabytes and two GPUs, which are only names.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins", "munge")
ACCOUNTING = ("slurmdbd", "slurm-wlm-mysql-plugin", "mariadb-server")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "srun")
MARK = "HYPERNUDGE_TEST_NODE"
PATIENCE = 60.0
SBIN = "/usr/sbin:/sbin:/usr/local/sbin"


def missing(accounting: bool = False) -> list[str]:
    """Return the programs that are not installed."""
    needed = [*PROGRAMS, *(("slurmdbd", "mariadbd", "sacct", "sacctmgr") if accounting else ())]
    return [name for name in needed if _which(name) is None]


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{SBIN}")


def install(accounting: bool = False) -> None:
    """Install the packages.

    Raises:
        RuntimeError: If that is not possible here.
    """
    packages = [*PACKAGES, *(ACCOUNTING if accounting else ())]
    if not missing(accounting):
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise RuntimeError("Slurm's packages need apt-get and root")
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=60", "-o", "Acquire::Retries=2"]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Debian starts services when it installs them; where there is no init, and here, none is wanted.
    policy, ours = Path("/usr/sbin/policy-rc.d"), False
    if not policy.exists():
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        ours = True
    try:
        for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            done = subprocess.run([*apt, *command], env=env, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise RuntimeError(f"apt-get {command[0]}: {(done.stderr or done.stdout).strip()[-500:]}")
    finally:
        if ours:
            policy.unlink()


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Cluster:
    """A cluster, running from `start` to `stop`.

    Args:
        folder: Where everything lies; short, for it holds sockets.
        nodes: How many.
        accounting: Whether there is a data base of jobs.
    """

    def __init__(self, folder: Path, nodes: int = 2, accounting: bool = False) -> None:
        self.folder, self.accounting = folder, accounting
        self.nodes = [f"n{number + 1}" for number in range(nodes)]
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def env(self) -> dict[str, str]:
        """What clients need in their environment."""
        path = f"{os.environ.get('PATH', os.defpath)}:{SBIN}"
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path}

    def start(self) -> None:
        """Start everything, and wait until the nodes take jobs.

        Raises:
            RuntimeError: If they do not; with what the daemons wrote.
        """
        for name in ("state", "log", *(f"spool/{node}" for node in self.nodes)):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._write_configuration()
        self._start_munge()
        if self.accounting:
            self._start_accounting()
        self.start_controller(clean=True)
        for node in self.nodes:
            self.start_node(node)
        self._wait(self._is_idle, "the nodes")

    def stop(self) -> None:
        """End everything, jobs too."""
        for name in reversed(list(self._daemons)):
            self._kill(name)
        _kill_all(self.folder)

    def run(self, *command: str, check: bool = True) -> str:
        """Return what a command of Slurm prints."""
        env = {**os.environ, **self.env}
        done = subprocess.run(
            list(command), env=env, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def start_controller(self, clean: bool = False) -> None:
        """Start slurmctld; with `clean` it forgets all jobs."""
        self._start("slurmctld", "slurmctld", "-D", *(["-c"] if clean else []))

    def ask_nodes(self) -> None:
        """Have nodes say now what runs on them: the controller asks one that lives about once a minute."""
        self._wait(lambda: self._answers("scontrol", "reconfigure"), "the controller")

    def kill_controller(self) -> None:
        """Kill slurmctld."""
        self._kill("slurmctld")

    def start_node(self, node: str) -> None:
        """Start the daemon of a node."""
        self._start(node, "slurmd", "-D", "-N", node, env={MARK: self._mark(node)})

    def kill_daemon(self, node: str) -> None:
        """Kill the daemon of a node; its jobs run on, and nobody knows."""
        self._kill(node)

    def kill_node(self, node: str) -> None:
        """Kill everything on a node, as a power cut would."""
        self._kill(node)
        for pid in self.processes(node):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def is_up(self, name: str) -> bool:
        """Whether a daemon runs: `slurmctld`, or a node's by the node's name."""
        return name in self._daemons and self._daemons[name].poll() is None

    def processes(self, node: str) -> list[int]:
        """Return the processes on a node."""
        return _marked(f"{MARK}={self._mark(node)}", f"SLURMD_NODENAME={node}", conf=self.env["SLURM_CONF"])

    def listening(self) -> list[str]:
        """Return the addresses that its daemons listen at."""
        sockets = set()
        for daemon in self._daemons.values():
            for handle in Path(f"/proc/{daemon.pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    sockets.add(str(handle.readlink()).partition("socket:[")[2].rstrip("]"))
        found = []
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                address = bytes.fromhex(fields[1].partition(":")[0])[::-1]
                found.append(socket.inet_ntoa(address))
        return found

    def said(self) -> str:
        """Return the ends of the daemons' logs."""
        logs = sorted((self.folder / "log").glob("*"))
        return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in logs)

    def _mark(self, node: str) -> str:
        return f"{self.folder}/{node}"

    def _is_idle(self) -> bool:
        states = self.run("sinfo", "-h", "-N", "-o", "%N %T", check=False).split("\n")
        return sum(state.endswith(" idle") for state in states) == len(self.nodes)

    def _start(self, name: str, program: str, *arguments: str, env: dict[str, str] | None = None) -> None:
        path = _which(program)
        if path is None:
            raise RuntimeError(f"{program} is not installed")
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                [path, *arguments],
                env={**os.environ, **self.env, **(env or {})},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        pids = {name: daemon.pid for name, daemon in self._daemons.items()}
        (self.folder / "pids.json").write_text(json.dumps(pids))

    def _kill(self, name: str) -> None:
        daemon = self._daemons.pop(name, None)
        if daemon is None:
            return
        daemon.kill()
        daemon.wait()

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what} did not come up\n{self.said()}")
            time.sleep(0.1)

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(os.urandom(1024))
        self.folder.chmod(0o755)
        files = {name: str(self.folder / f"munge.{name}") for name in ("pid", "log", "seed")}
        options = [f"--{name}-file={path}" for name, path in files.items()]
        socket_path = self.folder / "munge.sock"
        self._start(
            "munged", "munged", "-F", "--force", f"--key-file={key}", f"--socket={socket_path}", *options
        )
        self._wait(socket_path.exists, "munged")

    def _start_accounting(self) -> None:
        data, port = self.folder / "mysql", str(self._database_port)
        fill = ["mariadb-install-db", f"--datadir={data}", "--auth-root-authentication-method=normal"]
        fill += [f"--user={getpass.getuser()}", "--skip-test-db", "--no-defaults"]
        subprocess.run(fill, env={**os.environ, **self.env}, capture_output=True, check=True)
        options = [f"--datadir={data}", f"--socket={self.folder}/mysql.sock", f"--port={port}"]
        options += ["--bind-address=127.0.0.1", f"--user={getpass.getuser()}", f"--pid-file={data}/pid"]
        self._start("mariadbd", "mariadbd", "--no-defaults", *options)
        ask = ["mariadb", "--no-defaults", "-uroot", f"--socket={self.folder}/mysql.sock", "-e"]
        user = "create user hn@'127.0.0.1' identified by 'hn'; grant all on hn.* to hn@'127.0.0.1'"
        ask.append(f"create database hn; {user}")

        self._wait(lambda: self._answers(*ask), "mariadbd")
        self._start("slurmdbd", "slurmdbd", "-D")
        listed = ["sacctmgr", "-n", "list", "cluster"]
        self._wait(lambda: self._answers(*listed), "slurmdbd")
        self.run("sacctmgr", "-i", "add", "cluster", "hypernudge")

    def _answers(self, *command: str) -> bool:
        env = {**os.environ, **self.env}
        return subprocess.run(list(command), env=env, capture_output=True, check=False).returncode == 0

    def _write_configuration(self) -> None:
        host, user, folder = socket.gethostname().partition(".")[0], getpass.getuser(), self.folder
        control, *ports = free_ports(len(self.nodes) + 3)
        self._database_port, dbd = ports.pop(), ports.pop()
        cgroups = self.accounting and _can_make_cgroups()
        lines = [
            "ClusterName=hypernudge",
            f"SlurmctldHost={host}(127.0.0.1)",
            f"SlurmctldPort={control}",
            f"SlurmUser={user}",
            f"SlurmdUser={user}",
            # A requeued job waits as long as credentials live.
            f"AuthInfo=socket={folder}/munge.sock,cred_expire=5",
            "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny",
            f"StateSaveLocation={folder}/state",
            f"SlurmdSpoolDir={folder}/spool/%n",
            f"SlurmctldPidFile={folder}/slurmctld.pid",
            f"SlurmdPidFile={folder}/%n.pid",
            f"SlurmctldLogFile={folder}/log/slurmctld.log",
            f"SlurmdLogFile={folder}/log/%n.log",
            f"ProctrackType=proctrack/{'cgroup' if cgroups else 'linuxproc'}",
            f"TaskPlugin=task/{'cgroup' if cgroups else 'none'}",
            "MpiDefault=none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core_Memory",
            "EnforcePartLimits=ALL",
            "ReturnToService=2",
            "SlurmdTimeout=10",
            "MessageTimeout=5",
            "BatchStartTimeout=3",  # how soon a node that comes back may be asked for its jobs
            "KillWait=2",
            "JobRequeue=1",
            "SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=0",
            "GresTypes=gpu",
        ]
        if self.accounting:
            kind = "cgroup" if cgroups else "linux"
            lines += [
                "AccountingStorageType=accounting_storage/slurmdbd",
                "AccountingStorageHost=127.0.0.1",
                f"AccountingStoragePort={dbd}",
                f"AccountingStoragePass={folder}/munge.sock",
                "AccountingStorageTRES=gres/gpu",
                f"JobAcctGatherType=jobacct_gather/{kind}",
                "JobAcctGatherFrequency=task=1",
            ]
            database = [
                "AuthType=auth/munge",
                f"AuthInfo=socket={folder}/munge.sock",
                "DbdHost=localhost",
                "DbdAddr=127.0.0.1",
                f"DbdPort={dbd}",
                f"SlurmUser={user}",
                "StorageType=accounting_storage/mysql",
                "StorageHost=127.0.0.1",
                f"StoragePort={self._database_port}",
                "StorageLoc=hn",
                "StorageUser=hn",
                "StoragePass=hn",
                f"LogFile={folder}/log/slurmdbd.log",
                f"PidFile={folder}/slurmdbd.pid",
            ]
            _write(folder / "slurmdbd.conf", database, 0o600)
        for node, port in zip(self.nodes, ports, strict=True):
            lines.append(
                f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
                "CPUs=2 RealMemory=4000 Gres=gpu:2"
            )
        everything = ",".join(self.nodes)
        lines.append(f"PartitionName=all Nodes={everything} Default=YES MaxTime=60 DefaultTime=10 State=UP")
        _write(folder / "slurm.conf", lines)
        _write(folder / "gres.conf", ["AutoDetect=off", "Name=gpu File=/dev/null", "Name=gpu File=/dev/zero"])
        # Nothing is confined: the processors of a test machine are few.
        confined = ["ConstrainCores=no", "ConstrainDevices=no", "ConstrainRAMSpace=yes"]
        _write(folder / "cgroup.conf", ["CgroupPlugin=cgroup/v1", "CgroupAutomount=no", *confined])


def _write(path: Path, lines: Sequence[str], mode: int = 0o644) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(mode)


def _can_make_cgroups() -> bool:
    """Whether this machine has the first version of cgroups, and lets us use it."""
    roots = [Path("/sys/fs/cgroup") / name for name in ("freezer", "memory", "cpuacct")]
    return all(os.access(root, os.W_OK) for root in roots)


def _marked(*marks: str, conf: str | None = None) -> list[int]:
    """Return the processes with one of some texts in their environment, and that of a cluster."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # ended meanwhile, or somebody else's
            content = path.read_bytes()
            whole = conf is None or conf.encode() in content
            if whole and any(mark.encode() + b"\0" in content for mark in marks):
                found.append(int(path.parent.name))
    return [pid for pid in found if pid != os.getpid()]


@contextlib.contextmanager
def running(nodes: int = 2, accounting: bool = False) -> Iterator[Cluster]:
    """Yield a cluster that is gone after the block."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    cluster = Cluster(folder, nodes, accounting)
    try:
        with _swept_if_killed(folder):
            cluster.start()
            yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _swept_if_killed(folder: Path) -> Iterator[None]:
    """Have another process end what was started in a folder once this one is gone, even by SIGKILL."""
    command = [sys.executable, str(Path(__file__).resolve()), "sweep", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as watcher:
        assert watcher.stdin is not None
        try:
            yield
            watcher.stdin.write(b"over")
        finally:
            with contextlib.suppress(BrokenPipeError):
                watcher.stdin.close()


def _sweep(folder: Path) -> None:
    """Wait until whoever has started this process says that all is over, or is gone; then see to it."""
    if sys.stdin.buffer.read() != b"over":
        _kill_all(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _kill_all(folder: Path) -> None:
    for pid in _marked(f"SLURM_CONF={folder}/slurm.conf"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    for name in ("install", "start", "stop", "run", "sweep"):
        action = actions.add_parser(name)
        action.add_argument("--accounting", action="store_true")
        if name in ("start", "stop", "sweep"):
            action.add_argument("directory", type=Path, metavar="DIR")
        if name == "run":
            action.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    options = parser.parse_args(arguments)
    try:
        if options.action == "install":
            install(options.accounting)
        elif options.action == "run":
            with running(accounting=options.accounting) as cluster:
                return subprocess.run(
                    options.command, env={**os.environ, **cluster.env}, check=False
                ).returncode
        elif options.action == "start":
            directory = options.directory.absolute()
            directory.mkdir(parents=True)
            Cluster(directory, accounting=options.accounting).start()
            sys.stdout.write(f"export SLURM_CONF={directory}/slurm.conf PATH=$PATH:{SBIN}\n")
        elif options.action == "sweep":
            _sweep(options.directory)
        else:
            _kill_all(options.directory.absolute())
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
