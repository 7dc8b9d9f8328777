"""The lab's page: its catalogue, the sources that it shows, and the tutorial, without a browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.html import strip_tags

import ws_gateway.lab
from tests.support.page_rules import inline_code, text_parsing
from ws_gateway.lab import guide
from ws_gateway.lab.examples import EXAMPLES, Example
from ws_gateway.lab.routing import websocket_urlpatterns
from ws_gateway.lab.sources import PACKAGE, browser_source, code_lines, package_source

LAB: Final = Path(ws_gateway.lab.__file__).parent
EVIL: Final = '<script>alert("1")</script> & {}'


def test_catalogue_has_every_socket_of_the_lab() -> None:
    """No path without a card, no card without a path."""
    routed = {"/" + re.sub("<.*$", "", str(pattern.pattern)) for pattern in websocket_urlpatterns}
    assert routed == {variant.path for example in EXAMPLES for variant in example.variants}
    shown = {variant.source for example in EXAMPLES for variant in example.variants}
    assert shown == {path.name for path in (PACKAGE / "consumers").glob("*.py")} - {"__init__.py"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.slug)
def test_example_teaches_in_three_sentences(example: Example) -> None:
    """Each of the three is one sentence, and its section is in the tutorial."""
    for sentence in example.teaches:
        assert sentence.endswith(".")
        assert ". " not in sentence
    assert re.search(rf'<h2 id="{example.slug}">', guide.page_html(guide.TUTORIAL))


def test_source_is_the_file_that_runs() -> None:
    """Every character of it, and a line for each line."""
    for name in ("consumers/room.py", "frames.py"):
        source = package_source(name)
        text = (PACKAGE / name).read_text(encoding="utf-8")
        assert _text_of(source.html) == text
        assert source.line_count == len(text.splitlines())
    assert _text_of(browser_source("lab/lessons/room.js").html).startswith("/** A chat room")
    with pytest.raises(FileNotFoundError):
        browser_source("lab/lessons/none.js")


@pytest.mark.parametrize("language", ["python", "javascript", "no-such-language"])
def test_source_is_escaped(language: str) -> None:
    """Markup in a source stays text, in whatever language it is said to be."""
    html = "".join(code_lines(f"# {EVIL}\n'{EVIL}'\n", language))
    assert "<script" not in html
    assert _text_of(html) == f"# {EVIL}\n'{EVIL}'\n"


def test_highlighting_classes_have_a_colour() -> None:
    """A class that the stylesheet does not know would mark nothing."""
    stylesheet = (Path(guide.DOCS).parent / "libs/clarion/src/clarion/pages/static/clarion/clarion.css").read_text()
    known = set(re.findall(r"^\.(hl-[a-z]+) \{", stylesheet, re.MULTILINE))
    html = "".join(str(package_source(f"consumers/{path.name}").html) for path in (PACKAGE / "consumers").glob("*.py"))
    assert set(re.findall(r'class="(hl-[a-z]+)"', html)) == known


def test_page_holds_every_lesson(client: Client) -> None:
    """Card, source and code of each, whoever asks; and where to sign in."""
    page = client.get("/lab/").content.decode()
    for example in EXAMPLES:
        assert f'<article id="{example.slug}"' in page
        assert f'href="{reverse("lab-guide", args=[guide.TUTORIAL])}#{example.slug}"' in page
    assert len(re.findall(r' id="([^"]+)"', page)) == len(set(re.findall(r' id="([^"]+)"', page)))
    assert "need JavaScript" in page


def test_page_without_a_checkout_has_no_link_to_a_tutorial(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container image: the lessons are all there."""
    from ws_gateway.lab import views

    monkeypatch.setattr(guide, "DOCS", Path("/nonexistent"))
    guide.pages.cache_clear()
    views._lessons.cache_clear()
    try:
        page = client.get("/lab/").content.decode()
        assert page.count("<article") == len(EXAMPLES)
        assert "/lab/docs/" not in page
        assert client.get("/lab/docs/tutorial/channels.md").status_code == 404
    finally:
        guide.pages.cache_clear()
        views._lessons.cache_clear()


@pytest.mark.parametrize(
    "name", ["../README.md", "tutorial/../../README.md", "tutorial/ws.py", "none.md", "/etc/passwd"]
)
def test_guide_shows_pages_of_the_documentation_only(client: Client, name: str) -> None:
    """Nothing outside of ``docs``, and no file that is no page."""
    assert client.get(f"/lab/docs/{name}").status_code == 404


def test_guide_renders_every_page_of_the_documentation() -> None:
    """No raw HTML, no style attribute, and no link that leads nowhere from here."""
    for name in guide.pages():
        html = guide.page_html(name)
        without_code = re.sub(r"<(pre|code).*?</\1>", "", html, flags=re.DOTALL)
        assert inline_code(re.sub('href="https?:', 'href="', without_code)) == []
        for link in re.findall(r'href="([^"]+)"', html):
            if re.match("https?:|#|/", link):
                continue
            target = (guide.DOCS / name).parent.joinpath(link.partition("#")[0]).resolve()
            assert target.relative_to(guide.DOCS).as_posix() in guide.pages(), (name, link)


def test_guide_keeps_its_own_links_and_shows_html_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page's link to a page leads there, one to a source file is words; the lab's address is this page's own."""
    (tmp_path / "tutorial").mkdir()
    (tmp_path / "other.md").write_text("# Other\n")
    (tmp_path / guide.TUTORIAL).write_text(
        "# The `title`\n\n## Who am I\n\n## Who am I\n\n"
        "<script>x</script> [other](../other.md#a), [code](../../src/a.py), "
        "[card](http://127.0.0.1:8080/lab/#room), [js](javascript:x)\n\n| a |\n|--:|\n| 1 |\n\n```sh\nls\n```\n"
    )
    monkeypatch.setattr(guide, "DOCS", tmp_path)
    guide.pages.cache_clear()
    html = guide.page_html(guide.TUTORIAL)
    guide.pages.cache_clear()
    assert guide.title_of(guide.TUTORIAL) == "The title"
    assert '<h2 id="who-am-i">' in html
    assert '<h2 id="who-am-i-1">' in html
    assert "<script" not in html
    assert re.findall(r'href="([^"]+)"', html) == ["../other.md#a", "/lab/#room"]
    assert '<td class="is-right">1</td>' in html
    assert 'style="' not in html
    assert 'data-copy="code-' in html


@pytest.mark.parametrize("template", sorted(LAB.rglob("*.html")), ids=lambda path: path.name)
def test_template_needs_no_inline_code(template: Path) -> None:
    """The content policy allows neither inline scripts, handlers or styles nor another origin."""
    assert inline_code(template.read_text()) == []


@pytest.mark.parametrize("module", sorted(LAB.rglob("*.js")), ids=lambda path: path.name)
def test_module_puts_texts_in_as_texts(module: Path) -> None:
    """Nothing parses HTML or code from a string: a payload can only become a text node."""
    assert text_parsing(module.read_text()) == []


@pytest.mark.parametrize("module", sorted((LAB / "static/lab/lessons").glob("*.js")), ids=lambda path: path.name)
def test_lesson_shows_the_socket_itself(module: Path) -> None:
    """A reader finds ``new WebSocket`` and its handlers in the code of the card, in one look."""
    text = module.read_text()
    assert "new WebSocket(url" in text
    assert "socket.onmessage = " in text
    assert len(text.splitlines()) <= 100


def _text_of(html: str) -> str:
    unescaped = strip_tags(html)
    for entity, char in {"&lt;": "<", "&gt;": ">", "&#x27;": "'", "&quot;": '"', "&amp;": "&"}.items():
        unescaped = unescaped.replace(entity, char)
    return unescaped
