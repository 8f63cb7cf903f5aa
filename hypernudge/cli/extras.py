"""What a command needs beyond the core, said in one line where it is not installed."""

from __future__ import annotations

from importlib.util import find_spec

from hypernudge.errors import InvalidArgumentError

MODULES: dict[str, tuple[str, ...]] = {
    "harness": (
        *("hydra", "omegaconf", "yaml", "pandas", "matplotlib", "sklearn"),
        *("statsmodels", "lifelines", "rich", "psutil", "jsonschema", "jinja2"),
    ),
    "dash": ("plotly", "starlette", "uvicorn"),
    "slurm": ("submitit",),
    "ray": ("ray",),
    "parquet": ("pyarrow",),
    "optuna": ("optuna",),
    "trackers": ("mlflow", "sqlalchemy", "alembic", "wandb"),
    "notebook": ("nbclient", "ipykernel", "nbformat"),
    "surrogates": ("onnxruntime",),
    "tabular": ("xgboost", "sklearn", "pandas"),
    "rl": ("stable_baselines3", "gymnasium", "ale_py"),
}
"""Names under which the packages of each extra are imported."""


def check_extra(command: str, extra: str) -> None:
    """Refuse a command whose extra is not installed, before any work.

    Raises:
        InvalidArgumentError: Naming the first module that is missing.
    """
    for module in MODULES[extra]:
        if find_spec(module) is None:
            raise _lacking(command, module, extra)


def explained(command: str, error: ModuleNotFoundError) -> InvalidArgumentError | None:
    """Return the error for a module that an extra installs; None for one that nobody knows."""
    module = (error.name or "").partition(".")[0]
    extra = next((extra for extra, modules in MODULES.items() if module in modules), None)
    return None if extra is None else _lacking(command, module, extra)


def _lacking(command: str, module: str, extra: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"hypernudge {command}: needs the extra {extra}, but {module} is not installed; "
        f"pip install 'hypernudge[{extra}]'"
    )
