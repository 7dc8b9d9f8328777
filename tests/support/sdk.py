"""Centrifugo's own SDKs, each in a program that is driven by lines of JSON: tests/e2e/sdk/README.md."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.support.waiting import DEADLINE_S, Seen

ROOT: Final = Path(__file__).resolve().parents[2]
SDKS: Final = ROOT / "tests" / "e2e" / "sdk"
BUILT: Final = ROOT / ".tools" / "sdk"

GO_PATH: Final = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/go/bin"])
"""Where Go is looked for, as bootstrap.sh does."""

_JVM: Final = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")  # a start in half the time

Event = dict[str, Any]


class SdkError(Exception):
    """What an SDK's call failed with.

    Attributes:
        code: the protocol's error code, or the SDK's own.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


@dataclass(frozen=True)
class Variant:
    """One SDK in one of its transports or forms."""

    sdk: str
    transport: str

    def __str__(self) -> str:
        return f"{self.sdk}-{self.transport}"

    @property
    def is_emulated(self) -> bool:
        """Whether commands go by ``/emulation``."""
        return self.transport in ("http_stream", "sse")

    @property
    def has_delta(self) -> bool:
        """Whether the SDK can rebuild what changed."""
        return self.sdk != "java"

    @property
    def gives_up_at_expired(self) -> bool:
        """Whether error 109 at a subscribe unsubscribes it: centrifuge-java 0.4.1 plans to retry, and then gives up."""
        return self.sdk == "java"

    @property
    def is_recent(self) -> bool:
        """Whether the SDK knows what is new in the protocol: the tags filter, invalidated state."""
        return self.sdk in ("js", "python")


VARIANTS: Final = [
    Variant("js", "websocket"),
    Variant("js", "http_stream"),
    Variant("js", "sse"),
    Variant("python", "json"),
    Variant("python", "protobuf"),
    Variant("go", "json"),
    Variant("go", "protobuf"),
    Variant("java", "protobuf"),
]


def program_of(sdk: str) -> list[str]:
    """The command that starts an SDK's program."""
    return {
        "js": ["node", str(SDKS / "js" / "client.mjs")],
        "python": [sys.executable, str(SDKS / "python" / "client.py")],
        "go": [str(BUILT / "go" / "client")],
        "java": ["java", *_JVM, "-cp", f"{BUILT / 'java' / 'classes'}:{BUILT / 'java' / 'lib' / '*'}", "SdkClient"],
    }[sdk]


class Program:
    """A running program with any number of clients of one SDK."""

    def __init__(self, sdk: str) -> None:
        self.clients: dict[str, SdkClient] = {}
        self._answers: dict[int, Event] = {}
        self._ids = itertools.count(1)
        self._changed = threading.Condition()
        self._process = subprocess.Popen(program_of(sdk), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for text in self._process.stdout:
            line = json.loads(text)
            with self._changed:
                if "event" in line:
                    self.clients[line["client"]].events.append(line)
                else:
                    self._answers[line["id"]] = line
                self._changed.notify_all()

    def wait(self, condition: Callable[[], Seen], deadline_s: float = DEADLINE_S, *, what: str) -> Seen:
        """Wait until a condition on what the program said is true, and return its value.

        Raises:
            AssertionError: it was not true within ``deadline_s`` seconds.
        """
        end = time.monotonic() + deadline_s
        with self._changed:
            while not (seen := condition()):
                assert self._process.poll() is None, f"the SDK's program ended with code {self._process.returncode}"
                assert time.monotonic() < end, f"{what}: not within {deadline_s:g} s"
                self._changed.wait(0.2)
        return seen

    def send(self, line: Event) -> int:
        """Ask for something; returns the number that :meth:`answer` takes."""
        number = next(self._ids)
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"id": number, **line}) + "\n")
        self._process.stdin.flush()
        return number

    def answer(self, number: int, what: str) -> Any:
        """Wait for the answer.

        Raises:
            SdkError: the SDK's call failed.
        """

        self.wait(lambda: number in self._answers, what=what)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise SdkError(answer["error"]["code"], answer["error"]["message"])
        return answer.get("result")

    def stop(self) -> None:
        """End the program: by the end of its input."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(10)
        self._process.stdout.close()


@dataclass
class SdkClient:
    """One client, and all that its SDK has told so far.

    Attributes:
        events: ``{"event", "channel"?, …}`` in the order of their coming.
    """

    name: str
    variant: Variant
    program: Program
    events: list[Event] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.variant} {self.name}"

    def call(self, do: str, **arguments: Any) -> Any:
        """Have the SDK do something and wait for what it returns.

        Raises:
            SdkError: it failed.
        """
        number = self.program.send({"client": self.name, "do": do, **arguments})
        return self.program.answer(number, f"{self}: {do}")

    def connect(self) -> Event:
        """Connect and wait until it is done."""
        self.call("connect")
        return self.wait("connected")

    def subscribe(self, channel: str, **options: Any) -> Event:
        """Subscribe and wait until it is done."""
        self.call("subscribe", channel=channel, **options)
        return self.wait("subscribed", channel)

    def wait_renewed(self, channel: str, *, count: int = 1) -> Event:
        """Wait until it has subscribed by another token than the one that had expired."""
        if self.variant.gives_up_at_expired:
            assert self.wait("unsubscribed", channel)["code"] == 109
            self.call("resubscribe", channel=channel)
        return self.wait("subscribed", channel, count=count)

    def of(self, event: str, channel: str | None = None) -> list[Event]:
        """The events of one kind so far."""
        return [
            seen
            for seen in self.events
            if seen["event"] == event and (channel is None or seen.get("channel") == channel)
        ]

    def wait(self, event: str, channel: str | None = None, *, count: int = 1, deadline_s: float = DEADLINE_S) -> Event:
        """Wait for the ``count``-th event of a kind and return it."""
        what = f"{self}: {event} {channel or ''} no. {count}"
        return self.program.wait(lambda: self.of(event, channel)[count - 1 : count], deadline_s, what=what)[0]

    def wait_for(self, condition: Callable[[Event], bool], *, what: str, deadline_s: float = DEADLINE_S) -> Event:
        """Wait for an event for which the condition holds."""
        return self.program.wait(lambda: list(filter(condition, self.events)), deadline_s, what=f"{self}: {what}")[0]

    def data(self, channel: str) -> list[Any]:
        """The data of all publications of a channel so far."""
        return [seen["data"] for seen in self.of("publication", channel)]

    def wait_data(self, channel: str, expected: Sequence[Any], deadline_s: float = DEADLINE_S) -> None:
        """Wait for as many publications, and compare."""
        what = f"{self}: {len(expected)} publications of {channel}"
        self.program.wait(lambda: len(self.data(channel)) >= len(expected), deadline_s, what=what)
        seen = self.data(channel)
        at = next(
            (at for at, pair in enumerate(zip(seen, expected, strict=False)) if pair[0] != pair[1]), len(expected)
        )
        assert seen == list(expected), f"{self}: {channel} differs from no. {at} on: {seen[max(0, at - 2) : at + 4]}"


class Sdks:
    """The programs that run, started when first used."""

    def __init__(self) -> None:
        self._programs: dict[str, Program] = {}
        self._names = (f"client-{number}" for number in itertools.count(1))

    def client(self, variant: Variant, url: str, **options: Any) -> SdkClient:
        """Make a client; ``token`` is its first token, ``tokens`` what it is given when it asks for more."""
        program = self._programs.get(variant.sdk)
        if program is None:
            program = self._programs[variant.sdk] = Program(variant.sdk)
        client = SdkClient(next(self._names), variant, program)
        program.clients[client.name] = client
        client.call("open", url=url, transport=variant.transport, **options)
        return client

    def stop(self) -> None:
        """End them all."""
        for program in self._programs.values():
            program.stop()


@contextmanager
def sdks() -> Iterator[Sdks]:
    """The SDKs' programs for the length of a ``with`` block."""
    made = Sdks()
    try:
        yield made
    finally:
        made.stop()


def missing(sdk: str) -> str:
    """Why an SDK cannot be tested here; "": it can."""
    if sdk == "js" and not (SDKS / "js" / "node_modules").is_dir():
        return "npm's packages are not installed: deploy/scripts/bootstrap.sh test"
    if sdk == "go" and shutil.which("go", path=GO_PATH) is None:
        return "Go is not on this machine"
    if sdk == "java" and not (shutil.which("javac") and shutil.which("mvn")):
        return "a JDK with Maven is not on this machine"
    made = BUILT / "java" / ".stamp" if sdk == "java" else Path(program_of(sdk)[0])
    return "" if made.exists() or shutil.which(made) else f"{made} is not there: deploy/scripts/bootstrap.sh test"
