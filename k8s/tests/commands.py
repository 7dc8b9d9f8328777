"""The commands of pages: shell blocks, what is said in between, and the objects that kubectl is told of."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .manifests import Manifests

KINDS: Final = {
    "certificate": "Certificate", "certificaterequest": "CertificateRequest", "challenge": "Challenge",
    "configmap": "ConfigMap", "deployment": "Deployment", "hpa": "HorizontalPodAutoscaler", "ingress": "Ingress",
    "job": "Job", "node": "Node", "order": "Order", "pod": "Pod", "scaledobject": "ScaledObject", "secret": "Secret",
    "service": "Service", "statefulset": "StatefulSet",
}  # fmt: skip
VERBS: Final = {"create", "delete", "describe", "get", "patch", "port-forward", "rollout", "scale", "wait"}
POD_VERBS: Final = {"exec", "logs"}
"""Here a bare name is a pod's."""

_SUBCOMMANDS: Final = {"restart", "status", "undo", "generic", "tls", "docker-registry"}
_WITH_VALUE: Final = {"-n", "-l", "-o", "-f", "-k", "-p", "--type", "--patch-file", "--tail", "--for"}
_BLOCK: Final = re.compile(r"^( *)```sh\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_COMMENT: Final = re.compile(r"(?:^|(?<=\s))#\s.*$", re.MULTILINE)
_SPAN: Final = re.compile(r"`([^`\n]+)`")


def blocks(page: Path) -> list[str]:
    """The page's shell blocks, without their indentation."""
    return [textwrap.dedent(text) for _, text in _BLOCK.findall(page.read_text())]


def commands(page: Path) -> list[str]:
    """The lines of the blocks and the code in the prose, without comments; a line goes on after a backslash."""
    text = _BLOCK.sub("", page.read_text())
    lines = "\n".join(_COMMENT.sub("", block).replace("\\\n", " ") for block in blocks(page)).splitlines()
    return [*lines, *_SPAN.findall(text)]


def objects(command: str) -> Iterator[tuple[str, str]]:
    """Kind and name of each object that a command's kubectls are told of; "" where a kind stands alone.

    Raises:
        AssertionError: a kind that is not known here.
    """
    plain = re.sub(r"'[^']*'|\$\((?!kubectl)[^)]*\)", "…", command).replace('"', "")
    for call in re.findall(r"\bkubectl ([^|;&)]*)", plain):
        words = list(_words(call.partition(" -- ")[0]))
        verb = words[0] if words else ""
        named = [word for word in words[1:] if word not in _SUBCOMMANDS]
        if verb in POD_VERBS and named and "/" not in named[0]:
            yield "Pod", named[0]
        elif verb in VERBS | POD_VERBS:
            yield from _named(named, command)


def loops(command: str) -> Iterator[str]:
    """The values of ``$name`` in a loop over Deployments."""
    for values in re.findall(r"for name in ([\w -]+); do kubectl [^;]*\bdeployment/\$name", command.replace('"', "")):
        yield from values.split()


def _words(call: str) -> Iterator[str]:
    """Verb and arguments, without options and their values."""
    is_value = False
    for word in call.split():
        if not word.startswith("-") and not is_value:
            yield word
        is_value = word in _WITH_VALUE


def _named(words: list[str], command: str) -> Iterator[tuple[str, str]]:
    slashed = [word.split("/") for word in words if "/" in word]
    if slashed:
        yield from ((KINDS[kind], name) for kind, name in slashed)
        return
    if not words:  # the prose speaks of the verb
        return
    kinds = [KINDS.get(kind.removesuffix("s"), KINDS.get(kind)) for kind in words[0].split(",")]
    assert None not in kinds, f"{command}: {words[0]}"
    names = words[1:] or [""]
    yield from ((kind or "", name) for kind in kinds for name in names)


def known_objects(*renderings: Manifests) -> set[tuple[str, str]]:
    """Kind and name of all that is there once these have been applied, the Secrets that they only name among them."""
    found = {(one["kind"], one["metadata"]["name"]) for rendering in renderings for one in rendering.objects}
    found |= {("Secret", name) for rendering in renderings for one in rendering.objects for name in _secrets(one)}
    # The base's, where KEDA makes none; what a page has made by hand; the cluster's own.
    return found | {("HorizontalPodAutoscaler", "ws-gateway"), ("Secret", "registry"), ("ConfigMap", "coredns")}


def _secrets(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(name := node.get("secretName"), str):
            yield name
        yield from (pull["name"] for pull in node.get("imagePullSecrets") or [])
        for value in node.values():
            yield from _secrets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _secrets(value)
