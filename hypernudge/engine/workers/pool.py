"""What an engine needs of a pool of workers, whatever they are; one file for each kind."""

from __future__ import annotations

from typing import Protocol

from hypernudge.engine.workers.messages import Message, Order


class Pool(Protocol):
    """Workers that can be started, given orders, heard and ended. One order at a time for each."""

    def start(self) -> str:
        """Begin to start a worker; return its name, which no other one ever has. It says `Ready`."""
        ...

    def send(self, worker: str, order: Order) -> None:
        """Give a worker an order. One that is gone says `Died`, sooner or later."""
        ...

    def receive(self, timeout: float) -> list[tuple[str, Message]]:
        """Return what workers have said, waiting for so many seconds at most until one does."""
        ...

    def end(self, worker: str) -> None:
        """End a worker at once; nothing that it says is received any more."""
        ...

    def close(self) -> None:
        """End all workers, and whatever was started for them."""
        ...
