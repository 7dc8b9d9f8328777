"""docs/tutorial/channels.md: a section for every lesson, excerpts of the source, and a project of one's own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import textwrap
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import django
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Origin, Subprotocol

from tests.support.child import child_start, child_stop
from tests.support.pasting import ROOT, Block, blocks_of, output_check, paste
from tests.support.ports import free_port, is_listening
from tests.support.redis_server import RedisServer
from tests.support.waiting import DEADLINE_S, wait_until
from tests.support.websocket import receive_json
from ws_gateway.lab.examples import EXAMPLES, Example

TUTORIAL: Final = ROOT / "docs" / "tutorial" / "channels.md"
CONSUMERS: Final = ROOT / "docs" / "explanation" / "consumers.md"
CARDS: Final = "http://127.0.0.1:8080/lab/#"
OWN: Final = "Into your own project"

BLOCKER: Final = """
    import sys

    class Blocker:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {"clarion", "ws_gateway", "http_api", "notifier"}:
                raise ModuleNotFoundError(f"{name}: a stock project has no part of Clarion")

    sys.meta_path.insert(0, Blocker())
"""


def sections(page: Path = TUTORIAL) -> dict[str, str]:
    """A page's second-level sections by their heading, in their order."""
    parts = re.split(r"^## (.+)\n", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("lesson", EXAMPLES, ids=lambda lesson: lesson.slug)
def test_tutorial_has_a_section_for_every_lesson(lesson: Example) -> None:
    """Its heading's anchor is the card's; it links to the card and the source of each variant, and names its path."""
    found = {heading.lower().replace(" ", "-"): text for heading, text in sections().items()}
    text = found[lesson.slug]
    assert f"({CARDS}{lesson.slug})" in text
    for variant in lesson.variants:
        assert f"lab/consumers/{variant.source})" in text
        assert f"`{variant.path}" in text


def test_tutorial_follows_the_order_of_the_cards() -> None:
    """Who reads the page beside the lab meets the lessons in the same order."""
    slugs = [heading.lower().replace(" ", "-") for heading in sections()]
    wanted = [lesson.slug for lesson in EXAMPLES]
    assert [slug for slug in slugs if slug in wanted] == wanted


def excerpts() -> list[tuple[str, str, Block]]:
    """Every block of Python, with its section's heading and text."""
    found = [(heading, text) for page in (TUTORIAL, CONSUMERS) for heading, text in sections(page).items()]
    return [(heading, text, block) for heading, text in found for block in blocks_of(text, "python")]


@pytest.mark.parametrize(("text", "block"), [pytest.param(*rest, id=heading) for heading, *rest in excerpts()])
def test_tutorial_excerpts_are_in_the_source(text: str, block: Block) -> None:
    """A block of Python stands so in a file that its section links to; a line ``# …`` leaves something out."""
    files = [(TUTORIAL.parent / link).resolve() for link in re.findall(r"\]\(([^)]+\.py)\)", text)]
    chunks = [chunk.strip("\n") for chunk in re.split(r"^ *# …\n", block.text, flags=re.MULTILINE)]
    assert any(_holds(file.read_text(encoding="utf-8"), chunks) for file in files), block.text


def _holds(source: str, chunks: list[str]) -> bool:
    at = 0
    for chunk in chunks:
        at = source.find(chunk, at)
        if at < 0:
            return False
        at += len(chunk)
    return True


# --- a project of one's own -------------------------------------------------------------------------------------------


def project_blocks() -> list[Block]:
    """The commands that make it; not the one that installs packages."""
    return [block for block in blocks_of(sections()[OWN], "sh") if "pip install" not in block.text]


@pytest.fixture
def reader(tmp_path: Path, redis_server: RedisServer) -> Path:
    """A folder like the reader's checkout, with a Redis in dev.json and an empty project beside it."""
    checkout, site = tmp_path / "clarion", tmp_path / "mysite"
    (checkout / ".run").mkdir(parents=True)
    (checkout / ".run" / "dev.json").write_text(json.dumps({"redis_url": redis_server.url}))
    for name in (".venv", "docs", "services"):
        (checkout / name).symlink_to(ROOT / name)
    site.mkdir()
    stock_venv(site / "venv")
    return checkout


def stock_venv(folder: Path) -> None:
    """What ``pip install django channels[daphne] channels_redis`` gives, from this machine's packages; no Clarion."""
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "stock.pth").write_text(f"{Path(django.__file__).parents[1]}\n")
    (packages / "sitecustomize.py").write_text(textwrap.dedent(BLOCKER))
    for name, module in (("django-admin", "django"), ("daphne", "daphne")):
        (folder / "bin" / name).write_text(f'#!/bin/sh\nexec {folder}/bin/python -m {module} "$@"\n')
        (folder / "bin" / name).chmod(0o755)


def environment(checkout: Path) -> dict[str, str]:
    """The shell's, with the folder and the port that the commands take when they are named."""
    return {"SITE": str(checkout.parent / "mysite"), "PORT": str(free_port()), "CLARION": str(checkout)}


def test_own_project_works_as_pasted(reader: Path) -> None:
    """Its commands, one after the other, end in a socket that answers as shown, with no part of Clarion importable."""
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    blocks = project_blocks()
    outputs = paste(reader, ["cd $SITE", *(block.text for block in blocks)], environment(reader), deadline_s=100)
    for block, output in zip(blocks, outputs[1:], strict=True):
        output_check(block, output)


@contextmanager
def site_running(reader: Path) -> Iterator[int]:
    """The project on daphne; its port."""
    *making, _running = project_blocks()
    paste(reader, ["cd $SITE", *(block.text for block in making)], environment(reader), deadline_s=100)
    site, port, log = reader.parent / "mysite", free_port(), reader.parent / "daphne.log"
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    daphne = child_start([site / "venv/bin/daphne", "-p", str(port), "mysite.asgi:application"], log, env=env, cwd=site)
    try:
        wait_until(lambda: is_listening(port) or daphne.poll() is not None, 60, what="daphne listens")
        assert daphne.poll() is None, log.read_text()
        yield port
    finally:
        child_stop(daphne, hard=True)


async def answer_of(port: int, path: str) -> Any:
    """What a lesson answers to ``{"msg": "hello"}``: the first frame that is no greeting."""
    origin = Origin(f"http://127.0.0.1:{port}")
    offered = [Subprotocol("lab.v1")] if "subprotocol" in path else None
    # A sync counter holds up every socket of such a process, and daphne lets it count to its end: make that short.
    url = f"ws://127.0.0.1:{port}{path}{'lobby/' if '/room/' in path else '?interval_ms=50'}"
    async with connect(url, origin=origin, subprotocols=offered, open_timeout=DEADLINE_S, proxy=None) as socket:
        await socket.send('{"msg": "hello"}')
        while True:
            frame = await receive_json(socket)
            if not frame.keys() & {"scope", "user", "channel_name", "history"}:
                return frame


async def test_every_lesson_answers_on_stock_daphne(reader: Path) -> None:
    """Copied as the tutorial has it, each lesson runs on daphne and channels_redis's own layer."""
    paths = [variant.path for lesson in EXAMPLES for variant in lesson.variants]
    with site_running(reader) as port:
        answers = {path: await answer_of(port, path) for path in paths}
    texts = {path: answer.get("msg") for path, answer in answers.items()}
    whoami, worker = answers.pop("/ws/lab/whoami/"), answers.pop("/ws/lab/worker/")
    assert whoami["error"]["code"] == "unauthorized"
    assert worker["task"]["done"] == 0
    counters = {path for path, answer in answers.items() if answer.get("count") == 1}
    assert counters == {"/ws/lab/counter/sync/", "/ws/lab/counter/async/"}
    assert {path for path in answers if texts[path] != "hello"} == counters


def test_blocker_keeps_clarion_away(tmp_path: Path) -> None:
    """The environment of the tests above is stock: in it Clarion cannot be imported, channels can."""
    stock_venv(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    assert subprocess.run([python, "-c", "import channels"], check=False).returncode == 0
    refused = subprocess.run([python, "-c", "import clarion"], check=False, capture_output=True, text=True)
    assert "a stock project has no part of Clarion" in refused.stderr
