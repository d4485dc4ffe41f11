"""Exports to a stand-in of the Hugging Face hub."""

import pytest

from pipeline.errors import ConfigError
from pipeline.export.base import TargetConflictError
from pipeline.export.hub_dataset import HubDataset
from pipeline.export.registry import BYTES
from pipeline.export.run import ExportOptions, export
from pipeline.maintenance.forget import forget
from tests.pipeline.export.hub_server import REPOSITORY, ROUTES, hub_server
from tests.pipeline.export.targets import Place, commit, make_sink, picture, result


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)  # whose protocol the stand-in lacks
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with hub_server() as (hub, address):
        hub.place = Place("hf", f"hf://datasets/{REPOSITORY}", {"endpoint": address, "token": "hf_secret"})
        yield hub


def images(hub, folder) -> dict[str, bytes]:
    """The images of the current commit, as datasets reads them from a copy."""
    for name, content in hub.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return {row["sample_id"]: row["image"] for row in Place("parquet", str(folder), {}).rows()}


def test_repository_is_created_as_a_private_one_and_gets_one_commit_for_each_change(hub, tmp_path):
    sink = make_sink(tmp_path / "sink")
    assert hub.place.export(sink).added == 5 and hub.is_private and len(hub.commits) == 2
    assert images(hub, tmp_path / "first") == {f"a/{n}.png": picture(n) for n in range(5)}
    assert hub.place.export(sink).version is None and len(hub.commits) == 2
    commit(sink, [result(sink, "a/1.png", 77)])
    done = hub.place.export(sink)
    assert (done.changed, done.copied, len(hub.commits)) == (1, 4, 3) and done.version.startswith("commit ")
    assert images(hub, tmp_path / "second")["a/1.png"] == picture(77)


def test_forgotten_sample_disappears_and_with_purge_from_history_and_storage(hub, tmp_path):
    sink = make_sink(tmp_path / "sink")
    hub.place.export(sink)
    forget(sink, ["a/2.png"], "forgetting")
    hub.place.export(sink)
    assert "a/2.png" not in images(hub, tmp_path / "copy") and len(hub.large) == 2
    assert hub.place.export(sink, purge=True).version is None
    assert len(hub.commits) == 1 and list(hub.large.values()) == [
        content for name, content in hub.files.items() if name.endswith(".parquet")
    ]


def test_text_of_the_card_is_kept_and_other_files_are_refused(hub, tmp_path):
    sink = make_sink(tmp_path / "sink")
    hub.add(
        {
            "README.md": b"---\nlicense: mit\nconfigs:\n- {config_name: other, data_files: x}\n---\n# Mine\n",
            ".gitattributes": b"",
        }
    )
    hub.place.export(sink)
    card = hub.files["README.md"].decode()
    assert hub.place.export(sink).version is None
    assert "license: mit" in card and "config_name: other" in card and "# Mine" in card and "data_files" in card
    hub.add({"README.md": b"# Mine\n", "data/theirs.parquet": b"x"})
    with pytest.raises(ConfigError, match=r"holds data/theirs.parquet, but no export"):
        hub.place.export(sink)


def test_commit_of_somebody_else_in_between_is_a_conflict(hub, tmp_path):
    sink = make_sink(tmp_path / "sink")
    hub.place.export(sink)
    commit(sink, [result(sink, "b.png", 8)])
    with hub.place.open() as target, pytest.raises(TargetConflictError, match="another program has changed"):

        class Slow:
            state, exported = target.state, target.exported

            def commit(self, changes):
                hub.add({**hub.files, "notes.txt": b"x"})
                return target.commit(changes)

        export(sink, Slow(), ExportOptions(BYTES))


def test_refusal_of_the_hub_is_told_without_the_token(hub, tmp_path, monkeypatch):
    sink = make_sink(tmp_path / "sink")
    hub.add({})
    monkeypatch.delitem(ROUTES, next(route for route in ROUTES if "preupload" in route))
    with pytest.raises(OSError, match="501 Not Implemented") as error:
        hub.place.export(sink)
    assert "hf_secret" not in str(error.value) and len(hub.commits) == 1


@pytest.mark.parametrize(
    "uri", ["hf://datasets/name", "hf://owner/name", "hf://datasets/a/b/c", "hf://datasets/a/b@main"]
)
def test_other_uris_of_the_hub_are_refused(uri):
    with pytest.raises(ConfigError, match="TARGET on the Hugging Face hub must be"):
        HubDataset(uri, {})
