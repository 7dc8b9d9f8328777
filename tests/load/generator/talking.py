"""A client that goes through a dialogue after its handshake: sign in, subscribe, recover."""

from __future__ import annotations

import time
from typing import Final

from tests.load.generator.clients import Client, Refused, Tally, client_frame
from tests.load.generator.orders import Dialogue

ERROR: Final = b'"error":{'
"""No answer that a dialogue expects holds it."""


class TalkClient(Client):
    """Connected once the last step of its dialogue is answered; from then on it counts, frame by frame.

    Attributes:
        answer_ns: from the last step's text to the end of its answer.
    """

    def __init__(
        self,
        tally: Tally,
        request: bytes,
        dialogue: Dialogue,
        *,
        is_timed: bool = False,
        joint: int | None = None,
    ) -> None:
        super().__init__(tally, request, is_timed=is_timed, joint=joint)
        self.answer_ns = 0
        self._ping = dialogue.ping
        self._pong = client_frame(dialogue.pong)
        self._asked_ns = 0
        self._counted = 0
        self._begin(dialogue)

    def _begin(self, dialogue: Dialogue) -> None:
        self._stride = 0  # an answer has a size of its own
        # Masked beforehand: the time from a text to its answer is the server's.
        self._steps = list(dialogue.steps)
        self._frames = [client_frame(step.text) if step.text else b"" for step in dialogue.steps]

    def talk(self, dialogue: Dialogue) -> None:
        """Go through more steps; ``opened`` is anew."""
        self.opened = self.opened.get_loop().create_future()
        self._begin(dialogue)
        self.accepted()

    def accepted(self) -> None:
        """Say what comes next, or be done."""
        if not self._steps:
            self.opened.set_result(None)
            return
        self._counted = 0
        self._asked_ns = time.monotonic_ns()
        if self._frames[0]:
            self.send(self._frames[0])

    def text(self, payload: bytes, size: int) -> None:
        """Take the answer to a step; afterwards count."""
        if payload == self._ping:
            self.send(self._pong)
        elif self._steps:
            self._answer(payload)
        else:
            super().text(payload, size)

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever is cut in the dialogue was refused."""
        if self.is_open and not self.opened.done():
            self.is_open = False
            self.opened.set_exception(Refused(f"cut before the answer to {self._steps[0].text[:40]!r}"))
        super().connection_lost(exc)

    def _answer(self, payload: bytes) -> None:
        step = self._steps[0]
        if not payload.startswith(step.expects) or ERROR in payload:
            self._refuse(f"{step.text[:40]!r} was answered by {payload[:80]!r}")
            return
        if step.counts is not None:
            what, wanted = step.counts
            self._counted += payload.count(what)
            if self._counted < wanted and step.is_split:
                return
            if self._counted != wanted:
                self._refuse(f"{self._counted} x {what!r}, not {wanted}")
                return
        self.answer_ns = time.monotonic_ns() - self._asked_ns
        self._steps.pop(0)
        self._frames.pop(0)
        self.accepted()

    def _refuse(self, cause: str) -> None:
        self._steps.clear()
        if not self.opened.done():
            self.opened.set_exception(Refused(cause))
