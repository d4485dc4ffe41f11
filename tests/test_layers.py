"""Imports go one way: each package imports only those in lines above its own."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from jobs.cli.commands import COMMANDS, module_name
from tests.conftest import ROOT

# Ground first; packages and modules on one line do not import each other. A registry holds only text.
LAYERS = {
    "moebius": """
c_library checkpoint hardware
network
autoencoder sampling
sampler weights windows
fast
inference train
bench
""",
    "pipeline": """
containers database records registry timed uris version
detection.registry errors masks.drawn masks.registry metrics sinks.registry sources.registry
codecs.codec codecs.jpeg_markers counts expressions extras
codecs.metadata_formats
codecs.jpeg codecs.other_containers codecs.png codecs.webp
codecs.identification codecs.tiff
codecs
codecs.metadata config storage
verdicts
detection signing sources
faults masks
manifest sinks
worker
planning
cluster cluster.connection cluster.supervision
cluster.resources
executor
report
evaluation maintenance review training
export run
bench
""",
    "jobs": f"""
configuration log pictures tables
cli
{" ".join(module_name(command).removeprefix("jobs.") for command in COMMANDS)}
__main__
""",
}
RANKS = {
    root: {name: rank for rank, line in enumerate(lines.strip().splitlines()) for name in line.split()}
    for root, lines in LAYERS.items()
}
NOT_IN = {"moebius": {"ray", "pyarrow", "fsspec", "omegaconf", "pipeline", "jobs"}, "pipeline": {"jobs"}}
FILES = {root: sorted((ROOT / root).rglob("*.py")) for root in ("moebius", "pipeline", "jobs")}
LAYERED = [path for root in LAYERS for path in FILES[root] if path != ROOT / root / "__init__.py"]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def place_of(module: str) -> str:
    """The name in ``LAYERS`` that a module belongs to: its own, or that of its package."""
    root, package, *inner = module.split(".")
    own = ".".join([package, *inner[:1]])
    return own if own in RANKS[root] else package


def imported_modules(path: Path) -> Iterator[str]:
    """Full names of the modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("root", LAYERS)
def test_every_package_and_module_has_its_layer(root):
    assert {place_of(name) for name in map(module_of, LAYERED) if name.startswith(f"{root}.")} == RANKS[root].keys()


@pytest.mark.parametrize("path", LAYERED, ids=module_of)
def test_imports_lead_down(path):
    module = module_of(path)
    root, place = module.split(".")[0], place_of(module)
    imported = {place_of(name) for name in imported_modules(path) if name.startswith(f"{root}.")} - {place}
    assert not {name for name in imported if RANKS[root].get(name, -1) >= RANKS[root][place]}


@pytest.mark.parametrize("path", FILES["moebius"] + FILES["pipeline"], ids=module_of)
def test_nothing_from_the_packages_above_is_imported(path):
    root = module_of(path).split(".")[0]
    assert not {name.split(".")[0] for name in imported_modules(path)} & NOT_IN[root]


def test_private_parts_of_ray_are_used_in_one_file():
    """By import, or as attributes of Ray; variables of the environment are public."""
    private = {path.name for path in FILES["pipeline"] + FILES["jobs"] if "ray._" in path.read_text()}
    assert private == {"ray_private.py"}
    assert "_system_config" not in "".join(path.read_text() for path in FILES["pipeline"])


@pytest.mark.parametrize("root", LAYERS)
def test_files_do_not_import_each_other_in_a_circle(root):
    modules = {module_of(path): path for path in FILES[root]}
    graph = {module: {*imported_modules(path)} & modules.keys() - {module} for module, path in modules.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the files
