"""Tar shards with damaged headers, several ends or none: every sample is found whole, or a row says where they end."""

import tarfile

import pytest

from tests.pipeline.tar_files import find, kinds, members_of, parts, sample, tar

KEYS = ("a", "b", "c")
FORMATS = {"gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT, "ustar": tarfile.USTAR_FORMAT}
LONG = "folder/" * 20
WHOLE = {"a": None, "b": None}


def three(form: int = tarfile.GNU_FORMAT, folder: str = "", with_end: bool = True) -> bytes:
    return tar([entry for key in KEYS for entry in sample(f"{folder}{key}", key)], form, with_end)


def header_at(data: bytes, number: int) -> int:
    """First byte of what stands before a member, with its extended headers."""
    at = 0
    for _ in range(number):
        kind = b"x"
        while kind in b"xgLK":
            kind, size = data[at + 156 : at + 157], tarfile.TarInfo.frombuf(data[at : at + 512], "utf-8", "strict").size
            at += 512 + -(-size // 512) * 512
    return at


def check(path, damaged: bytes, folder: str = "") -> int:
    """Make sure that each sample is whole or covered by the shard's row; return how many are whole."""
    found = find(path, damaged)
    broken = [sample for sample in found if sample.sample_id == "x.tar"]
    whole = [sample for sample in found if sample.sample_id != "x.tar"]
    assert [sample.sample_id for sample in whole] == [f"x.tar/{folder}{key}" for key in KEYS[: len(whole)]]
    for key, found_sample in zip(KEYS, whole, strict=False):
        assert found_sample.fault is None and found_sample.has_mask
        assert parts(found_sample, damaged) == members_of(f"{folder}{key}", key)
    assert len(broken) == (len(whole) < len(KEYS)) or (len(broken) == 1 and len(whole) == len(KEYS))
    for row in broken:
        assert row.fault and row.fault.startswith("BrokenShard: x.tar cannot be read beyond") and "byte" in row.fault
    assert {row.version.rpartition(" of ")[2] for row in found} == {str(len(found))}
    return len(whole)


@pytest.mark.parametrize("member", range(1, 6))
@pytest.mark.parametrize("form", FORMATS)
def test_flipped_bit_in_a_header_keeps_what_lies_before_it(tmp_path, form, member):
    data = three(FORMATS[form])
    start = header_at(data, member)
    for at in range(start, start + 512, 7):
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        whole = check(tmp_path / "x.tar", bytes(damaged))
        # The number that a checksum field holds ends before its last bytes.
        assert whole == member // 2 or (at - start in (154, 155) and whole == len(KEYS))


@pytest.mark.parametrize("change", ["lost", "added"])
def test_shifted_bytes_in_a_header_keep_what_lies_before_it(tmp_path, change):
    data = three()
    for member in range(1, 6):
        start = header_at(data, member)
        for at in range(start + 1, start + 512, 11):
            damaged = data[:at] + data[at + 1 :] if change == "lost" else data[:at] + b"+" + data[at:]
            assert check(tmp_path / "x.tar", damaged) == member // 2


@pytest.mark.parametrize(
    ("change", "size"), [("lost", 1), ("lost", 300), ("lost", 512), ("lost", 1024), ("added", 1), ("added", 300)]
)
def test_member_that_lost_or_gained_bytes_is_not_taken(tmp_path, change, size):
    data = tar([(name, content * 400) for key in KEYS for name, content in sample(key)])
    start = header_at(data, 3) + 512
    damaged = data[:start] + (data[start + size :] if change == "lost" else b"+" * size + data[start:])
    found = find(tmp_path / "x.tar", damaged)
    assert kinds(found) == {"a": None, "x.tar": "BrokenShard"}


def test_cut_anywhere_leaves_no_sample_without_a_word(tmp_path):
    data = three(with_end=False)
    ends = [header_at(data, 2), header_at(data, 4), len(data)]
    for at in set(range(1, len(data), 23)).difference(ends):
        assert check(tmp_path / "x.tar", data[:at]) == sum(end - 512 + len("mask a") <= at for end in ends)


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_damaged_long_name_is_a_broken_shard_or_another_name(tmp_path, form):
    data = three(FORMATS[form], LONG)
    start, end = header_at(data, 2), header_at(data, 3)
    assert check(tmp_path / "x.tar", data, LONG) == len(KEYS)
    for at in [*range(start, start + 512, 7), *range(end - 1024 - len(members_of("b")[0]) // 512 * 512, end - 512, 7)]:
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        found = find(tmp_path / "x.tar", bytes(damaged))
        assert found[0].fault is None
        assert len(found) >= 3 or "BrokenShard" in kinds(found).values()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b" path=", b" path+"),
        (b".jpg\n", b".jpg "),
        (b"155 path", b"154 path"),
        (b"155 path", b"1X5 path"),
        (b"155 path", b"955 path"),
    ],
)
def test_damaged_record_of_a_pax_header_is_a_broken_shard(tmp_path, old, new):
    data = three(tarfile.PAX_FORMAT, LONG)
    start = header_at(data, 2)
    damaged = data[:start] + data[start:].replace(old, new, 1)
    assert damaged != data
    assert check(tmp_path / "x.tar", damaged, LONG) == 1


def test_zero_byte_inside_a_long_name_is_a_broken_shard(tmp_path):
    data = three(folder=LONG)
    start = header_at(data, 2)
    damaged = data[:start] + data[start:].replace(b"folder/folder", b"folder\0folder", 1)
    assert check(tmp_path / "x.tar", damaged, LONG) == 1


ENDS = {
    "two archives": (tar(sample("a")) + tar(sample("b")), WHOLE),
    "two archives of different formats": (tar(sample("a")) + tar(sample("b"), tarfile.PAX_FORMAT), WHOLE),
    "zeros, and a second archive": (tar(sample("a")) + bytes(10240) + tar(sample("b")), WHOLE),
    "three archives": (tar(sample("a")) + tar([]) + tar(sample("b")), WHOLE),
    "one block of zeros between": (tar(sample("a"), with_end=False) + bytes(512) + tar(sample("b")), WHOLE),
    "archives without ends": (tar(sample("a"), with_end=False) + tar(sample("b"), with_end=False), WHOLE),
    "one block of zeros": (tar([*sample("a"), *sample("b")], with_end=False) + bytes(512), WHOLE),
    "no end": (tar([*sample("a"), *sample("b")], with_end=False), WHOLE),
    "many zeros": (tar([*sample("a"), *sample("b")]) + bytes(1 << 20), WHOLE),
    "nothing but zeros": (bytes(10240), {}),
    "garbage behind the end": (tar([*sample("a"), *sample("b")]) + b"garbage" * 300, WHOLE | {"x.tar": "BrokenShard"}),
    "a bit behind the end": (tar([*sample("a"), *sample("b")])[:-1] + b"\1", WHOLE | {"x.tar": "BrokenShard"}),
    "part of a block": (tar([*sample("a"), *sample("b")])[:-1], WHOLE | {"x.tar": "BrokenShard"}),
    "no end and no mask": (tar([*sample("a"), sample("b")[0]], with_end=False), {"a": None, "x.tar": "BrokenShard"}),
    "no end and no image": (tar([*sample("a"), sample("b")[1]], with_end=False), {"a": None, "x.tar": "BrokenShard"}),
    "an end and no mask": (tar([*sample("a"), sample("b")[0]]), {"a": None, "b": None}),
    "an image before an end, its mask behind": (
        tar([*sample("a"), sample("b")[0]]) + tar([sample("b")[1]]),
        {"a": None, "b": None, "b#": "MissingImage"},
    ),
    "a second archive that is damaged": (
        tar(sample("a")) + tar(sample("b")).replace(b"ustar", b"USTAR", 1),
        {"a": None, "x.tar": "BrokenShard"},
    ),
}


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz"])
@pytest.mark.parametrize("case", ENDS)
def test_end_of_a_shard(tmp_path, case, name):
    import gzip

    data, expected = ENDS[case]
    found = find(tmp_path / name, gzip.compress(data) if name.endswith("gz") else data)
    if "b#" in expected:
        assert [sample.sample_id for sample in found] == [f"{name}/a", f"{name}/b", f"{name}/b"]
        assert [sample.has_mask for sample in found] == [True, False, False]
        return
    assert kinds(found, name) == {key.replace("x.tar", name): kind for key, kind in expected.items()}
    for row in found:
        if row.locator and row.has_mask:
            assert parts(row, data) == members_of(row.sample_id.rpartition("/")[2])


def test_row_of_a_broken_shard_says_where_and_what(tmp_path):
    data = bytearray(three())
    at = header_at(bytes(data), 3)
    data[at + 5] ^= 4
    *_, row = find(tmp_path / "x.tar", bytes(data))
    assert row.fault == (
        f"BrokenShard: x.tar cannot be read beyond 1 samples, at byte {at}: expected a header of a member, found "
        f"{bytes(data[at : at + 16])!r} (bad checksum); 'b' had begun and is not whole"
    )


def test_size_beyond_all_bounds_is_a_broken_shard(tmp_path):
    header = tarfile.TarInfo("b.jpg")
    header.size = 1 << 80
    data = tar(sample("a"), with_end=False) + header.tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    assert kinds(find(tmp_path / "x.tar", data)) == {"a": None, "x.tar": "BrokenShard"}


def test_extended_headers_that_make_no_sense_are_a_broken_shard(tmp_path):
    for key, value in [("GNU.sparse.size", "many"), ("GNU.sparse.major", "1"), ("size", "-5")]:
        header = tarfile.TarInfo("b.jpg")
        header.pax_headers = {key: value, **({"GNU.sparse.minor": "0"} if value == "1" else {})}
        data = tar(sample("a"), with_end=False) + header.tobuf(tarfile.PAX_FORMAT) + bytes(1024)
        assert kinds(find(tmp_path / "x.tar", data)) == {"a": None, "x.tar": "BrokenShard"}


def test_times_of_incremental_archives_are_no_folders(tmp_path):
    data = bytearray(tar([("d/", (tarfile.DIRTYPE, "")), *sample("d/a", "a"), *sample(f"{LONG}b", "b")]))
    headers = [at for at in range(0, len(data), tarfile.BLOCKSIZE) if data[at + 257 : at + 265] == tarfile.GNU_MAGIC]
    for number, at in enumerate(headers):
        data[at + 345 : at + 369] = b"%011o\0%011o\0" % (1_700_000_000 + number, 1_700_000_000)
        data[at + 148 : at + 156] = b" " * 8
        data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + tarfile.BLOCKSIZE])
    found = find(tmp_path / "x.tar", bytes(data))
    assert kinds(found) == {"d/a": None, f"{LONG}b": None}
    assert [parts(row, bytes(data)) for row in found] == [members_of("a"), members_of("b")]
