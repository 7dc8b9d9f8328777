"""Everything that `kubectl apply -k` would be given, rendered once."""

from __future__ import annotations

import pytest

from .manifests import COMPONENTS, OVERLAYS, Manifests, Tree

ALL: tuple[str, ...] = (*OVERLAYS, *COMPONENTS, "all-components")


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A copy of the kustomizations, with secrets."""
    return Tree(tmp_path_factory.mktemp("kustomize"))


@pytest.fixture(scope="session", params=ALL)
def manifests(request: pytest.FixtureRequest, tree: Tree) -> Manifests:
    """Each overlay; each component alone on the base; all components together."""
    name: str = request.param
    if name in OVERLAYS:
        return tree.render(f"overlays/{name}")
    return tree.with_components(*(COMPONENTS if name == "all-components" else [name]))


@pytest.fixture(scope="session", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest, tree: Tree) -> Manifests:
    """Each overlay."""
    return tree.render(f"overlays/{request.param}")


@pytest.fixture(scope="session")
def production(tree: Tree) -> Manifests:
    """The overlay for production."""
    return tree.render("overlays/production")


@pytest.fixture(scope="session")
def local(tree: Tree) -> Manifests:
    """The overlay with everything in the cluster."""
    return tree.render("overlays/local")
