"""Samples in WebDataset tar shards: members that share a key, such as ``7.jpg`` and ``7.mask.png``.

The plan stores the location of each member, so that a worker reads the samples of a unit with one request, in any
order. In a compressed shard, locations refer to the decompressed stream.
"""

import fnmatch
from collections import Counter
from collections.abc import Iterable, Iterator

from pipeline.codecs.identification.kinds import IMAGE_EXTENSIONS
from pipeline.errors import ConfigError
from pipeline.sources.base import SampleRef, matching_files, name_fault
from pipeline.sources.left_out import LeftOut
from pipeline.sources.tar.headers import BROKEN, Bounds, UnmarkedEndError
from pipeline.sources.tar.members import Link, Location, Members, Part, Refused, Tree, read_members
from pipeline.sources.tar.streams import SUFFIXES, is_compressed, is_shard, open_shard
from pipeline.sources.versions import with_count
from pipeline.sources.wanted import Wanted
from pipeline.storage.storage import Storage, StoredFile

MAX_EXPANSION = 200  # decompressed ÷ compressed bytes, beyond which a shard is refused
MIN_BOMB_BYTES = 1 << 30  # decompressed bytes that are always accepted
_NOWHERE: Location = (-1, 0)  # location of a missing member


class TarShards:
    """Finds the samples of all shards below a uri whose path matches a pattern.

    A sample's locator holds start and length of its image, its first mask, its carried members and its further masks;
    length 0 means missing.
    """

    def __init__(self, wanted: Wanted, storage: Storage) -> None:
        self.storage, self.pattern = storage, wanted.source.pattern
        self.image = wanted.source.image or ""
        self.masks, self._mask_may_miss = wanted.mask.members, wanted.mask_may_miss
        self._has_globs = any(mark in pattern for pattern in self.masks for mark in "*?[")
        self.carried = wanted.carried

    def files(self, left_out: LeftOut | None = None) -> list[StoredFile]:
        """See :class:`pipeline.sources.base.Source`."""
        left_out, files = left_out or LeftOut(), matching_files(self.storage, self.pattern)
        shards = sorted(left_out.sift(files, is_shard))
        if not shards:
            there = left_out.there()
            raise ConfigError(f"no shard ({', '.join(SUFFIXES)}) below {self.storage} matches {self.pattern!r}{there}")
        return shards

    def samples(self, files: Iterable[StoredFile]) -> Iterator[SampleRef]:
        """See :class:`pipeline.sources.base.Source`."""
        for found in self.storage.in_parallel(self._samples_in, files):
            version = with_count(found[0].version, len(found)) if found else ""
            yield from (sample._replace(version=version) for sample in found)

    def _samples_in(self, shard: StoredFile) -> list[SampleRef]:
        """Find the samples of one shard; a truncated shard adds one failed sample after those before the damage."""
        found: list[SampleRef] = []
        linked: list[tuple[int, Members]] = []  # known only when the shard is known whole
        tree, unfinished = Tree(), ""
        try:
            with open_shard(self.storage, shard.key) as file:
                for members in read_members(file, bounds_of(shard), tree, self._matters):
                    if members.is_last and not self._is_complete(members):
                        unfinished = members.key
                        continue
                    cut = self._cut_names(members)
                    if any(isinstance(part, Link) for part in members.by_extension.values()):
                        linked.append((len(found), members))
                    if members.by_extension:
                        found.append(self._sample(shard, members, tree))
                    found += [self._cut(shard, members.key, name) for name in cut]
        except BROKEN as error:  # whatever else goes wrong stops the plan
            if unfinished or not isinstance(error, UnmarkedEndError):
                message = f"BrokenShard: {shard.key} cannot be read beyond {len(found)} samples, {error}"
                inside = f"; {unfinished!r} had begun and is not whole" if unfinished else ""
                found.append(SampleRef(shard.key, 0, shard.version, shard.key, fault=_as_text(message + inside)))
        except FileNotFoundError:  # deleted since it was listed
            return []
        for index, members in linked:
            found[index] = self._sample(shard, members, tree)
        return self._told_apart(found)

    def _told_apart(self, found: list[SampleRef]) -> list[SampleRef]:
        """Explain missing masks of samples whose mask is not adjacent to their image in the shard."""
        if not self.masks or all(sample.has_mask or sample.fault for sample in found):
            return found
        repeated = {name for name, count in Counter(sample.sample_id for sample in found).items() if count > 1}
        message = (
            "MissingMask: {} has members that lie apart in its shard: make that with sorted names (tar --sort=name)"
        )
        return [
            sample._replace(fault=message.format(sample.sample_id))
            if sample.sample_id in repeated and not (sample.has_mask or sample.fault)
            else sample
            for sample in found
        ]

    def _sample(self, shard: StoredFile, members: Members, tree: Tree) -> SampleRef:
        name = _as_text(f"{shard.key}/{members.key}")
        parts, image = members.by_extension, self._image(members)
        if image is None:
            no_image = f"MissingImage: its members are {', '.join(sorted(parts))}; names end at their first dot"
            return SampleRef(name, 0, shard.version, shard.key, fault=_as_text(no_image))
        masks = sorted(filter(self._is_mask, parts))
        missing = [pattern for pattern in self.masks if not fnmatch.filter(masks, pattern)]
        others = (masks[0] if masks else None, *self.carried, *masks[1:])
        found = [_NOWHERE if other is None or other not in parts else tree.find(parts[other]) for other in others]
        wanted = [tree.find(image), *found]
        faults = [part.fault for part in wanted if isinstance(part, Refused)]
        if faults:
            return SampleRef(name, 0, shard.version, shard.key, fault=_as_text(faults[0]))
        locations = [part for part in wanted if not isinstance(part, Refused)]
        has_mask = bool(masks) and (self._mask_may_miss or not missing)
        nothing = (locations[0][0], 0)
        locator = [number for at in locations for number in (nothing if at == _NOWHERE else at)]
        lacks = f"MissingMask: {name} has no member {missing[0]}" if masks and not has_mask else None
        fault = name_fault(name) or lacks
        return SampleRef(name, sum(locator[1::2]), shard.version, shard.key, locator, has_mask, fault)

    def _image(self, members: Members) -> Part | None:
        return next((part for name, part in members.by_extension.items() if self._is_image(name)), None)

    def _is_image(self, extension: str) -> bool:
        if self.image:
            return extension == self.image
        return f".{extension}" in IMAGE_EXTENSIONS and not self._is_mask(extension)

    def _is_mask(self, extension: str) -> bool:
        return any(fnmatch.fnmatchcase(extension, pattern) for pattern in self.masks)

    def _matters(self, extension: str) -> bool:
        return self._is_image(extension) or self._is_mask(extension) or extension in self.carried

    def _is_complete(self, members: Members) -> bool:
        parts = members.by_extension
        has_all = not self._has_globs and all(name in parts for name in (*self.masks, *self.carried))
        return any(map(self._is_image, parts)) and has_all

    def _cut_names(self, members: Members) -> list[str]:
        """Remove image and mask whose names were split at an inner dot, and return the parts that were cut off.

        An image without a mask may be any other file of the sample.
        """
        parts = members.by_extension
        starts = [name.removesuffix(mask) for mask in self.masks for name in parts if name.endswith(f".{mask}")]
        cut = [at for at in starts if any(name.startswith(at) and self._is_image(name[len(at) :]) for name in parts)]
        for name in [name for name in parts if name.startswith(tuple(cut))]:
            del parts[name]
        return [at[:-1] for at in cut]

    @staticmethod
    def _cut(shard: StoredFile, key: str, rest: str) -> SampleRef:
        name = _as_text(f"{shard.key}/{key}.{rest}")
        fault = (
            f"UnusableName: {name}: names of members end at their first dot, so its image and mask are none of {key}"
        )
        return SampleRef(name, 0, shard.version, shard.key, fault=f"{_as_text(fault)}; rename them")


def bounds_of(shard: StoredFile) -> Bounds:
    """Return the limits of offsets in a shard."""
    if is_compressed(shard.key):
        return Bounds(expansion=max(MIN_BOMB_BYTES, MAX_EXPANSION * shard.size_bytes))
    return Bounds(end=shard.size_bytes or None)  # 0 where a storage does not know it


def _as_text(text: str) -> str:
    """Escape the bytes of names that are not UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
