"""The scheduler: what users attach to an optimizer; it applies what a controller chooses."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from hypernudge.episodes import checks
from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.axes.noise import NoiseSource
from hypernudge.episodes.controllers.anneal_shapes import AUTO
from hypernudge.episodes.controllers.annealed_alignment import AnnealedAlignment
from hypernudge.episodes.controllers.build import check_parts, controller_of
from hypernudge.episodes.controllers.controller import Controller
from hypernudge.episodes.controllers.joint import JointController
from hypernudge.episodes.kinds import kind_of
from hypernudge.episodes.lifecycle import persistence
from hypernudge.episodes.lifecycle.attached import take_over
from hypernudge.episodes.lifecycle.hooks import hooks_of, unwrap
from hypernudge.episodes.lifecycle.lifecycle import EpisodeLifecycle
from hypernudge.episodes.lifecycle.watch import training_loss
from hypernudge.episodes.noise.noise import StreamedNoise
from hypernudge.episodes.ranks import shared_seed
from hypernudge.episodes.records import EpisodeRecord, Selection
from hypernudge.errors import InvalidArgumentError, package
from hypernudge.registry import resolve


class EpisodicScheduler:
    """Adapts a running optimizer in episodes: a controller chooses, a window of steps judges.

    Attach it, and the training loop stays as it is: `EpisodicScheduler(optimizer)` steers the learning rate
    by `Alignment`. Told how long the training is, `EpisodicScheduler(optimizer, total_steps=N)` anneals the
    rate it has found, so that neither a rate nor a schedule is to be tuned. With axes, bandits choose among
    candidates and the loss of each step is to be reported:

        episodes = EpisodicScheduler(optimizer, LearningRate([0.5, 1, 2]), seed=0)
        for inputs, targets in loader:
            loss = criterion(model(inputs), targets)
            episodes.observe(loss)          # or construct with criterion=criterion
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    Cost: on the learning-rate axis a few Python operations per step, no memory, one device read per
    episode; gradient noise costs its random numbers. With `torch.distributed` initialised the ranks
    average their losses by one collective per episode and therefore choose alike.

    Attached again to the same optimizer (a notebook cell run twice), the later scheduler takes the place of
    every earlier one that changes the same thing, which is detached with a warning. Schedulers of different
    axes act together, and are undone in reverse order.

    A CUDA graph replay runs no hooks: capture the step (hooks stand aside), then wrap each replay in
    `around_step` and keep the learning rate in a tensor.

    Args:
        optimizer: The optimizer, or a wrapper with the real one as `.optimizer`.
        *axes: What bandits may change. Without axes, `controller` decides.
        total_steps: Optimizer steps of the whole training: alignment finds a rate and takes it to zero by
            then (`AnnealedAlignment`), whatever bandits own other axes.
        anneal: How: `linear`, `cosine`, `1-sqrt`; `none` to leave it to a schedule of your own; `auto` for
            `none` where the optimizer has one and `linear` elsewhere.
        peak: Factor on the rate that was found, from which it is annealed; only with `total_steps`. `"new"`
            for what suits networks that are trained from scratch, 1 for pretrained ones. None tells the two
            apart by the weights, before the first step, and says so in a warning where they are pretrained.
        controller: Decides instead of bandits, or about the rate besides bandits on other axes; without one
            and without axes it is `Alignment`, which needs no loss.
        criterion: Module whose output is, or has as `.loss`, the training loss; saves `observe`.
        seed: Seed of every random stream; None draws one, shared by all ranks.
        deferred_reads: Keep losses on their device until the episode closes; None decides by device.
        process_group: Ranks that must choose alike; None for all of them.
        update_norm: Log the mean update norm (copies the parameters and reads the device every step).
        noise_source: Where gradient noise comes from; None for independent streams.
        attach: Register the hooks; False leaves stepping to `around_step`.
        **bandit_options: Options of `bandit_controller`:
            `episode_length`, `bandit`, `reward`, `context`, `conditional`, `non_finite`.

    Raises:
        TypeError: `optimizer` holds no torch optimizer.
        ValueError: An argument is out of range or the optimizer lacks what an axis changes.
    """

    def __init__(
        self,
        optimizer: Any,
        *axes: Axis,
        total_steps: int | None = None,
        anneal: str = AUTO,
        peak: float | str | None = None,
        controller: Controller | None = None,
        criterion: nn.Module | None = None,
        seed: int | None = None,
        deferred_reads: bool | None = None,
        process_group: Any = None,
        update_norm: bool = False,
        noise_source: NoiseSource | None = None,
        attach: bool = True,
        **bandit_options: Any,
    ) -> None:
        self.optimizer = unwrap(optimizer)
        check_parts(criterion=criterion, noise_source=noise_source)
        for name, value in (("update_norm", update_norm), ("attach", attach)):
            checks.flag(name, value)
        checks.flag("deferred_reads", deferred_reads, optional=True)
        self.seed = shared_seed(checks.seed(seed), process_group)
        self.controller = controller_of(
            axes,
            controller,
            seed=self.seed,
            process_group=process_group,
            options=bandit_options,
            total_steps=total_steps,
            anneal=anneal,
            peak=peak,
        )
        for axis in self.controller.axes:
            axis.check(self.optimizer)
        self._noise = noise_source if noise_source is not None else StreamedNoise(self.seed)
        self.lifecycle = EpisodeLifecycle(
            self.optimizer,
            self.controller,
            self._noise,
            deferred_reads=deferred_reads,
            update_norm=update_norm,
            process_group=process_group,
        )
        # Whatever may be refused was: what changes the same and came earlier can go.
        take_over(self.lifecycle)
        if attach:
            hooks_of(self.optimizer).add(self.lifecycle)
        if criterion is not None:
            self.watch(criterion)
        self.lifecycle.open_early()

    # ------------------------------------------------------------------ what the user calls

    @property
    def current(self) -> Selection | None:
        """What was chosen for the open episode, or None between episodes."""
        return self.lifecycle.current

    @property
    def attached(self) -> bool:
        """Whether it acts on its optimizer: False after `detach`, also by a later scheduler's doing."""
        return not self.lifecycle.detached

    @property
    def records(self) -> list[EpisodeRecord]:
        """Closed episodes in order."""
        return self.lifecycle.records

    @property
    def step_count(self) -> int:
        """Optimizer steps counted so far."""
        return self.lifecycle.step_count

    @property
    def pending(self) -> int:
        """Losses reported since the last step."""
        return self.lifecycle.losses.pending

    def observe(self, loss: Tensor | float) -> None:
        """Report a loss of the step in progress; several before one step count as their mean.

        Args:
            loss: Scalar, one element; never modified, and kept on its device.

        Raises:
            ValueError: The loss is not a scalar, or not finite under the policy `raise`.
        """
        self.lifecycle.observe(loss)

    def watch(self, module: nn.Module) -> RemovableHandle:
        """Observe the training loss that `module` returns, at every forward pass with gradients."""

        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            loss = training_loss(output)
            if loss is not None:
                self.lifecycle.observe(loss)

        handle = module.register_forward_hook(hook)
        self.lifecycle.handles.append(handle)
        return handle

    def around_step(self) -> AbstractContextManager[None]:
        """Treat the body as one optimizer step: a graph replay, or a step without hooks.

        The loss may be observed before, or in the body if that is where it is computed.

        Raises:
            RuntimeError: The controller needs losses and none was observed by the end of the body.
        """
        return self.lifecycle.around()

    def finalize(self) -> None:
        """Close the open episode early: judged and logged if it has a step, dropped if not. Idempotent."""
        self.lifecycle.finalize()

    def abandon(self) -> None:
        """Drop the open episode: nothing is learned from it or logged."""
        self.lifecycle.drop()

    def detach(self) -> None:
        """Remove every hook and put everything back as the user configured it; for good."""
        self.lifecycle.detach()

    def __enter__(self) -> EpisodicScheduler:
        """Return self."""
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        """Finalize unless an exception passes through, then detach."""
        if kind is None:
            self.finalize()
        self.detach()

    def metrics(self) -> dict[str, float]:
        """Return what is in force as numbers for a logger: that of the open episode, else of the last one.

            for name, value in episodes.metrics().items():
                writer.add_scalar(name, value, step)

        It reads no device.

        Returns:
            `episodes/AXIS`, the value of each axis (a multiplier, a standard deviation, ...), and
            `episodes/AXIS/arm`, its position among the candidates; `episodes/closed`, how many episodes are
            over; `episodes/reward` of the last of them, if it has one; `episodes/annealing`, 0 or 1, where
            the length of the training is known: `episodes/lr` is the last step's then, and
            `episodes/pretrained`, 0 or 1, says for what the weights were taken, if they were looked at.
        """
        records = self.records
        found: dict[str, float] = {"episodes/closed": float(len(records))}
        selection = self.current or (records[-1].selection if records else None)
        if selection is not None:
            for axis, value, arm in zip(self.controller.axes, selection.values, selection.arms, strict=True):
                found[f"episodes/{axis.name}"] = float(getattr(axis, "applied", value))
                found[f"episodes/{axis.name}/arm"] = float(arm)
        if hasattr(self.controller, "metrics"):
            found |= {f"episodes/{name}": value for name, value in self.controller.metrics().items()}
        if records and records[-1].reward is not None:
            found["episodes/reward"] = float(records[-1].reward.value)
        return found

    def plot(self, *, path: str | Path | None = None) -> Any:
        """Draw what was in force over the optimizer's steps, and the reward of each episode.

        Args:
            path: Where it is written, too: a PDF, SVG or PNG.

        Returns:
            The Matplotlib figure.

        Raises:
            MissingExtraError: Matplotlib is not installed (extra `harness`).
            InvalidArgumentError: No step was taken yet, or `path` cannot be written.
        """
        package("matplotlib", "harness", "plot")
        return resolve("episodes_picture", "episodes")(self, path=path)

    @property
    def device_reads(self) -> int:
        """Times losses were fetched from a device, at most one per episode."""
        return self.lifecycle.losses.reads

    # ------------------------------------------------------------------ a training of known length

    @property
    def total_steps(self) -> int | None:
        """Steps of the training, as last told; None where that plays no part."""
        annealed = self._annealed
        return None if annealed is None else annealed.total_steps

    @property
    def phase(self) -> str | None:
        """`search` or `anneal`; None where the length of the training plays no part."""
        annealed = self._annealed
        return None if annealed is None else annealed.phase

    @property
    def pretrained(self) -> bool | None:
        """Whether the network was taken for pretrained, by its weights before the first step.

        None before it, and where that plays no part: `peak` was given, or no `total_steps`.
        """
        annealed = self._annealed
        return None if annealed is None else annealed.pretrained

    @property
    def last_lr(self) -> list[float]:
        """The rate of each parameter group at the last step, as it was applied; empty before the first.

        Reads the device where rates are tensors on one.
        """
        return self.lifecycle.last_rates()

    def extend(self, total_steps: int) -> None:
        """Train on, or shorter: change the number of steps of a training whose length is known.

        While the rate is searched it is as if this length had been named from the start, but that a training
        of less than about 330 steps has begun at a higher multiplier. An annealing that is lengthened ends:
        the rate returns to what was found, and is searched and annealed again over what is left. One that is
        shortened falls to zero by the new end from where it is.

        Args:
            total_steps: Optimizer steps of the whole training, those taken included.

        Raises:
            ValueError: It is not above the steps taken, or the scheduler was not told any.
            RuntimeError: The scheduler was detached.
        """
        self.lifecycle.check_attached()
        annealed = self._annealed
        if annealed is None:
            raise InvalidArgumentError(
                f"extend: needs a scheduler with total_steps, but got {total_steps!r} for one without; "
                "construct it with total_steps="
            )
        annealed.check_extension(total_steps)
        if annealed.phase == "anneal" and total_steps != annealed.total_steps:
            self.finalize()  # what is in force from the next step on is another episode
        annealed.extend(total_steps)

    @property
    def _annealed(self) -> AnnealedAlignment | None:
        parts = self.controller.parts if isinstance(self.controller, JointController) else (self.controller,)
        return next((part for part in parts if isinstance(part, AnnealedAlignment)), None)

    # ------------------------------------------------------------------ checkpoints

    def fingerprint(self) -> dict[str, Any]:
        """Return the settings a checkpoint must share, in plain types."""
        return {"controller": self.controller.fingerprint(), "noise": kind_of(self._noise)}

    def state_dict(self, *, logs: bool = True) -> dict[str, Any]:
        """Return everything a bit-exact continuation needs, in plain types and tensors.

        Loads with `torch.load(..., weights_only=True)`. May be taken at any point between steps, also
        inside an episode or between the micro-batches of an accumulated step.

        Args:
            logs: Include the records of closed episodes.
        """
        return {
            "format": persistence.FORMAT,
            "settings": self.fingerprint(),
            "seed": self.seed,
            "controller": self.controller.state_dict(),
            "noise": self._noise.state_dict(),
            **self.lifecycle.state_dict(logs=logs),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken.

        Raises:
            ValueError: The state was saved under other settings, lacks a part or is damaged; nothing is
                changed then.
            RuntimeError: The scheduler was detached.
        """
        self.lifecycle.check_attached()
        persistence.check_state(state, self.fingerprint())
        own = self.state_dict()
        try:
            self._replace(state)
        except Exception as error:
            self._replace(own)
            what = " ".join(f"{type(error).__name__}: {error}".split())
            raise InvalidArgumentError(
                f"state: is damaged ({what}); nothing was changed: load what state_dict() returned"
            ) from error

    def _replace(self, state: dict[str, Any]) -> None:
        self.lifecycle.release()
        self.seed = checks.whole_seed(state["seed"])
        self.controller.load_state_dict(state["controller"])
        self._noise.load_state_dict(state["noise"])
        self.lifecycle.load_state_dict(state)
