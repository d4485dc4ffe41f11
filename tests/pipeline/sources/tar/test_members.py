"""Links, sparse files and other members of tar shards that are not plain files."""

import gzip
import tarfile

import pyarrow.parquet as pq
import pytest

from pipeline.config.job import JobConfig, MaskConfig, SinkConfig, SourceConfig
from pipeline.database import Database
from pipeline.manifest.log import Manifest
from pipeline.planning.listing import find_samples
from pipeline.planning.plan import make_plan
from pipeline.records import OK
from pipeline.sources.tar.reader import TarReader
from pipeline.sources.wanted import wanted_by
from pipeline.storage.storage import Storage
from tests.pipeline.scenarios.test_hostile_shards import IMAGE, MASK, config, run
from tests.pipeline.tar_files import find, kinds, members_of, parts, sample, tar

HARD, SOFT = tarfile.LNKTYPE, tarfile.SYMTYPE
IMAGE_OF = {key: members_of(key)[0] for key in "ab"}
MASK_OF = {key: members_of(key)[1] for key in "ab"}
A, B = sample("a"), sample("b")


def linked(kind: bytes, image: str, mask: str, key: str = "c"):
    return [(f"{key}.jpg", (kind, image)), (f"{key}.mask.png", (kind, mask))]


LINKS = {
    "hard": ([*A, *linked(HARD, "a.jpg", "a.mask.png")], "c", "aa"),
    "hard, of the mask alone": ([*A, B[0], ("b.mask.png", (HARD, "a.mask.png"))], "b", "ba"),
    "hard, named from ./": (
        [*sample("./a", "a"), *linked(HARD, "./a.jpg", "a.mask.png"), *linked(HARD, "a.jpg", "./a.mask.png", "./d")],
        "./d",
        "aa",
    ),
    "hard, in a folder": ([*sample("x/a", "a"), *linked(HARD, "x/a.jpg", "x/a.mask.png", "y/c")], "y/c", "aa"),
    "hard, to a hard link": (
        [*A, *linked(HARD, "a.jpg", "a.mask.png"), *linked(HARD, "c.jpg", "c.mask.png", "d")],
        "d",
        "aa",
    ),
    "hard, to a symbolic link": ([*A, ("z.txt", (SOFT, "a.jpg")), *linked(HARD, "z.txt", "a.mask.png")], "c", "aa"),
    "hard, to the one before that of the same name": (
        [*A, *linked(HARD, "a.jpg", "a.mask.png"), *sample("a", "b")],
        "c",
        "aa",
    ),
    "symbolic": ([*A, *linked(SOFT, "a.jpg", "a.mask.png")], "c", "aa"),
    "symbolic, to what lies behind it": ([*linked(SOFT, "./b.jpg", "a.mask.png"), *A, *B], "c", "ba"),
    "symbolic, relative to its folder": (
        [*sample("x/a", "a"), *sample("a", "b"), *linked(SOFT, "a.jpg", "../x/a.mask.png", "x/c")],
        "x/c",
        "aa",
    ),
    "symbolic, by way of a linked folder": (
        [*sample("v1/a", "a"), ("last", (SOFT, "v1")), *linked(SOFT, "last/a.jpg", "last/../v1/a.mask.png")],
        "c",
        "aa",
    ),
    "symbolic, chained": (
        [*A, *linked(SOFT, "d.jpg", "d.mask.png"), *linked(SOFT, "a.jpg", "a.mask.png", "d")],
        "c",
        "aa",
    ),
    "to a hidden file": (
        [(".store/1", IMAGE_OF["a"]), (".2", MASK_OF["a"]), *linked(SOFT, ".store/1", ".2")],
        "c",
        "aa",
    ),
}


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("case", LINKS)
def test_link_gives_the_bytes_of_the_file_it_leads_to(tmp_path, case, form):
    entries, key, (image, mask) = LINKS[case]
    data = tar(entries, form)
    (found,) = (found for found in find(tmp_path / "x.tar", data) if found.sample_id == f"x.tar/{key}")
    assert found.fault is None and found.has_mask
    assert parts(found, data) == (IMAGE_OF[image], MASK_OF[mask])
    assert found.size_bytes == len(IMAGE_OF[image]) + len(MASK_OF[mask])


@pytest.mark.parametrize(
    "link",
    [
        (HARD, "b.jpg"),  # which lies behind it
        (HARD, "nowhere.jpg"),
        (SOFT, "nowhere.jpg"),
        (SOFT, "/etc/hostname"),
        (SOFT, "../a.jpg"),
        (SOFT, "c.jpg"),  # itself
        (SOFT, "folder"),
    ],
)
def test_link_that_leads_to_no_file_is_a_failed_sample(tmp_path, link):
    folder = ("folder", (tarfile.DIRTYPE, ""))
    data = tar([*A, folder, ("c.jpg", link), ("c.mask.png", MASK_OF["a"]), *B])
    found = find(tmp_path / "x.tar", data)
    assert kinds(found) == {"a": None, "c": "BrokenLink", "b": None}
    assert f"c.jpg is a link to {link[1]}," in str(found[1].fault)


def test_links_and_folders_of_no_concern_are_no_samples(tmp_path):
    entries = [("last", (SOFT, "a.jpg")), ("a.json", (HARD, "gone")), ("b.jpg", (tarfile.DIRTYPE, "")), *A]
    assert kinds(find(tmp_path / "x.tar", tar(entries))) == {"a": None}


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, b"M", b"Z"])
def test_member_that_is_no_file_is_a_failed_sample(tmp_path, kind):
    found = find(tmp_path / "x.tar", tar([*A, ("c.jpg", (kind, "")), ("c.mask.png", MASK_OF["a"])]))
    assert kinds(found) == {"a": None, "c": "UnsupportedMember"}


SPARSE = {
    "old": (None, b""),
    "0.0": ({"size": "4096", "numblocks": "1", "offset": "3584", "numbytes": "512"}, b""),
    "0.1": ({"size": "4096", "numblocks": "1", "map": "3584,512", "name": "c.jpg"}, b""),
    "1.0": ({"major": "1", "minor": "0", "realsize": "4096", "name": "c.jpg"}, b"1\n3584\n512\n".ljust(512, b"\0")),
}


@pytest.mark.parametrize("links", [False, True])
@pytest.mark.parametrize("kind", SPARSE)
def test_sparse_member_is_a_failed_sample_and_not_another_picture(tmp_path, kind, links):
    keys, before = SPARSE[kind]
    header, data = tarfile.TarInfo("c.jpg"), before + IMAGE_OF["a"].ljust(512, b"\0")
    header.size = len(data)
    if keys is None:
        header.type = tarfile.GNUTYPE_SPARSE
    else:
        header.pax_headers = {f"GNU.sparse.{key}": value for key, value in keys.items()}
    sparse = header.tobuf(tarfile.PAX_FORMAT if keys else tarfile.GNU_FORMAT) + data
    more = [("d.jpg", (HARD, "c.jpg")), ("d.mask.png", MASK_OF["a"])] if links else []
    archive = tar(A, with_end=False) + sparse + tar([("c.mask.png", MASK_OF["b"]), *more, *B])
    expected = {"a": None, "c": "UnsupportedMember", **({"d": "UnsupportedMember"} if links else {}), "b": None}
    assert kinds(find(tmp_path / "x.tar", archive)) == expected


def test_dots_in_a_name_are_told_sample_by_sample(tmp_path):
    names = ("photo.v1", "photo.v2", "a.b", "a", "d.x/7")
    data = tar([entry for name in names for entry in sample(name)])
    found = find(tmp_path / "x.tar", data)
    dotted = dict.fromkeys(("photo.v1", "photo.v2", "a.b"), "UnusableName")
    assert kinds(found) == {**dotted, "a": None, "d.x/7": None}
    assert parts(found[2], data) == members_of("a")


def test_other_members_of_a_sample_are_no_samples(tmp_path):
    entries = [*A, ("a.depth.png", b"x"), ("a.depth.jpg", b"y"), ("a.seg.mask.npy", b"z"), ("a.v1.json", b"{}")]
    assert kinds(find(tmp_path / "x.tar", tar(entries))) == {"a": None}


def test_members_that_lie_apart_are_told(tmp_path):
    found = find(tmp_path / "x.tar", tar([A[0], B[0], A[1], B[1]]))
    faults = [(row.sample_id, str(row.fault).partition(":")[0]) for row in found]
    assert faults == [
        ("x.tar/a", "MissingMask"),
        ("x.tar/b", "MissingMask"),
        ("x.tar/a", "MissingImage"),
        ("x.tar/b", "MissingImage"),
    ]
    assert "tar --sort=name" in str(found[0].fault)


@pytest.mark.parametrize("kind", ["alpha", "static"])
def test_member_without_an_extension_is_never_the_mask_of_another_kind(tmp_path, kind):
    (found,) = find(tmp_path / "x.tar", tar([("a.jpg", b"image"), ("a", b"text")]), MaskConfig(kind))
    assert found.locator is not None and found.locator[3] == 0 and not found.has_mask


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.tar.zst"])
def test_linked_members_are_read_wherever_they_lie(tmp_path, name):
    import pyarrow as pa

    keys = [f"{number:02}" for number in range(12)]
    filler = [("between.bin", bytes(3 << 20))]
    entries = [*(entry for key in keys for entry in sample(key)), *filler]
    for key in keys:
        entries += [(f"{key}x.jpg", (HARD, f"{key}.jpg")), (f"{key}x.mask.png", f"own {key}".encode())]
    packers = {".tar": bytes, ".gz": gzip.compress, ".zst": lambda data: pa.compress(data, "zstd", asbytes=True)}
    found = find(tmp_path / name, packers[name[name.rindex(".") :]](tar(entries)))
    job = JobConfig(
        source=SourceConfig("webdataset", str(tmp_path / name)),
        mask=MaskConfig("member"),
        sink=SinkConfig(uri=str(tmp_path / "out")),
    )
    samples = [{**row._asdict(), "input_version": row.version} for row in found if row.fault is None]
    reader = TarReader(wanted_by(job), Storage(job.source.uri))
    for order in (samples, samples[::-1], sorted(samples, key=lambda row: row["sample_id"])):
        for row, inputs in zip(order, reader.read_all(order), strict=True):
            key = row["sample_id"].rpartition("/")[2]
            own = f"own {key[:2]}".encode() if key.endswith("x") else members_of(key)[1]
            assert (inputs.image, inputs.mask) == (members_of(key[:2])[0], own)


def test_linked_samples_are_inpainted_as_what_they_lead_to(here, tmp_path):
    (tmp_path / "in").mkdir()
    entries = [
        ("a.png", IMAGE),
        ("a.mask.png", MASK),
        *[(f"b{end}", (HARD, f"a{end}")) for end in (".png", ".mask.png")],
    ]
    (tmp_path / "in" / "x.tar").write_bytes(tar(entries))
    job = config(tmp_path, SourceConfig("webdataset", str(tmp_path / "in")), MaskConfig("member"))
    assert run(job) == {"x.tar/a": None, "x.tar/b": None}
    first, second = pq.read_table(tmp_path / "out" / "manifest").to_pylist()
    assert first["status"] == second["status"] == OK
    assert first["mask_fraction"] == second["mask_fraction"] > 0


def test_plan_tells_broken_shards_from_missing_masks(tmp_path):
    entries = [*A, B[0], *sample("c")]
    found = find(tmp_path / "x.tar", tar(entries)[: 512 * 9])
    assert kinds(found) == {"a": None, "b": None, "x.tar": "BrokenShard"}
    job = config(tmp_path, SourceConfig("webdataset", str(tmp_path / "x.tar")), MaskConfig("member"))
    with Database() as database:
        find_samples(job, database)
        plan = make_plan(job, database, "weights", Manifest(Storage(job.sink.uri)))
        assert (plan.found, plan.without_mask, plan.faults) == (3, 1, {"BrokenShard": 1})


def test_broken_shard_keeps_its_rows_until_it_changes(here, tmp_path):
    (tmp_path / "in").mkdir()
    keys = ("a", "b", "c")
    data = tar([entry for key in keys for entry in ((f"{key}.png", IMAGE), (f"{key}.mask.png", MASK))])
    damaged = bytearray(data)
    damaged[data.index(b"b.png")] ^= 1
    shard = tmp_path / "in" / "x.tar"
    shard.write_bytes(damaged)
    job = config(tmp_path, SourceConfig("webdataset", str(tmp_path / "in")), MaskConfig("member"))
    expected = {"x.tar/a": None, "x.tar": "BrokenShard"}
    assert run(job) == expected
    assert run(job) == expected
    shard.write_bytes(data)
    assert run(job) == {
        "x.tar/a": None,
        "x.tar/b": None,
        "x.tar/c": None,
        "x.tar": "BrokenShard",
    }  # of which one is gone
