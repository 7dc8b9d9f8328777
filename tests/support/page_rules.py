"""What a template and a module may not hold, whatever service they belong to."""

from __future__ import annotations

import re


def inline_code(template: str) -> list[str]:
    """Find what the content policy refuses: inline scripts, handlers and styles, another origin."""
    return re.findall(
        r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:|https?://(?!www\.w3\.org/2000/svg)", template
    )


def text_parsing(module: str) -> list[str]:
    """Find what makes HTML or code of a string: a payload may only become a text node."""
    return re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser", module)
