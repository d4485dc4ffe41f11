"""Pack what ``train_nano_gpu.py`` needs besides this repository into one small folder.

``python benchmarks/pack_nano.py PHOTOS FOLDER --features efficientnet-lite0-57934424.pth``
"""

import argparse
import logging
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from held_out_fills import write_held_out  # noqa: E402 - see above

from moebius.checkpoint import read_state_dict, write_state_dict  # noqa: E402
from moebius.train.data.mask_bank import draw_masks, write_masks  # noqa: E402
from moebius.train.data.photo_archive import write_archive  # noqa: E402
from moebius.train.losses.efficientnet_lite import trunk_state  # noqa: E402
from moebius.train.photos import list_photos, scaled_photo  # noqa: E402
from moebius.weights.files import NANO_FOLDER  # noqa: E402

logger = logging.getLogger("pack_nano")
PHOTOS, HELD_OUT, MASKS = "photos.zip", "held_out.zip", "masks.npz"
FEATURES = "efficientnet_lite0_trunk.safetensors"
SIZE_PX = 128
SEED = 20


def main() -> None:
    """Pack photos, held-out crops with holes, masks and the layers of EfficientNet that are used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--features", type=Path, required=True, help="weights of EfficientNet-Lite0")
    parser.add_argument("--held-out", type=Path, default=NANO_FOLDER / "HELD_OUT.txt", help="names, one per line")
    parser.add_argument("--side", type=int, default=448, help="shorter side of the photos, in pixels")
    parser.add_argument("--quality", type=int, default=88, help="of WebP")
    parser.add_argument("--masks", type=int, default=4000, help="of each kind")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    options.folder.mkdir(parents=True, exist_ok=True)
    names, photos = set(options.held_out.read_text().split("\n")), list_photos(options.photos)
    training = [path for path in photos if path.name not in names]
    count = write_archive(training, options.side, options.quality, options.folder / PHOTOS)
    held_out = [scaled_photo(path, options.side) for path in photos if path.name in names]
    crops = write_held_out(held_out, options.folder / HELD_OUT, SEED)
    write_masks(draw_masks(options.masks, SIZE_PX, SEED), options.folder / MASKS)
    write_state_dict(trunk_state(read_state_dict(options.features)), options.folder / FEATURES)
    logger.info("%d photos, %d held-out crops, %d masks of each kind", count, crops, options.masks)


if __name__ == "__main__":
    main()
