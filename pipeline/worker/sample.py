"""The steps of one sample: decode and cut windows before the model, composite and encode after it."""

import hashlib
import math
import time
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from PIL import Image

from moebius.windows import plan_windows
from moebius.windows.painting import SecondPass
from moebius.windows.tiles import MAX_BAND_PX
from pipeline.codecs.decode import bits_per_channel, decode
from pipeline.codecs.encode import check_encodable, encode_filled
from pipeline.codecs.jpeg.settings import samples_per_pixel
from pipeline.codecs.metadata.policy import passed_through, with_policy
from pipeline.codecs.metadata.provenance import COMPUTED, INPAINTED
from pipeline.config.job import JobConfig
from pipeline.containers import KEPT_FORMATS, PRIVATE
from pipeline.errors import SampleError
from pipeline.masks.base import revealed
from pipeline.masks.corrected import settings_of
from pipeline.masks.decode import draw_mask
from pipeline.records import FAILED, OK, UNCHANGED, Record
from pipeline.signing.signer import ResultSigner
from pipeline.sources.inputs import Inputs, Sample
from pipeline.sources.reader import Reader
from pipeline.worker.sample_job import SampleJob, outside_max_diff, refuse_change
from pipeline.worker.seam import look_at_border

BYTES_PER_PIXEL = 14  # as decoded, as seen, repainted and encoded, with the mask and its parts
BYTES_PER_COEFFICIENT = 4  # of a JPEG, read and read again
BYTES_TO_CHOOSE = 8  # more: a fill beside the best one, and where its border is
BYTES_TO_VERIFY = 14  # more: the result as the detector sees it, what it finds, and the best try
BYTES_TO_BLEND = 15  # per pixel that is blended at once in a second pass: sums of weighted colours, and the colours


def new_record(sample: Sample, config: JobConfig, reader: Reader, weights_fingerprint: str, run_id: str) -> Record:
    """Build the part of a manifest row that is known before the sample is opened; its status is failed."""
    return Record(
        sample_id=sample["sample_id"],
        status=FAILED,
        input_uri=reader.image_uri(sample),
        input_version=sample["input_version"],
        mask_kind=config.mask.kinds,
        mask_uri=reader.mask_uri(sample),
        config_fingerprint=config.fingerprint,
        seed=sample_seed(config.model.seed, sample["sample_id"]),
        weights_fingerprint=weights_fingerprint,
        run_id=run_id,
        started_at=datetime.now(UTC),
    )


def sample_seed(seed: int, sample_id: str) -> int:
    """Return a seed from the job's seed and the sample's id, independent of batching, retries and resume."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{sample_id}".encode()).digest()[:8], "big") >> 1


def decoded_bytes(header: Image.Image, image: bytes, config: JobConfig) -> int:
    """Estimate the memory of a sample from decoding to encoding, from its opened header."""
    is_verified, is_refined = config.verifying_detector is not None, config.window.refine > 0
    per_pixel = BYTES_PER_PIXEL * (2 if bits_per_channel(header, image) > 8 else 1)
    per_pixel += BYTES_TO_VERIFY * is_verified + BYTES_TO_CHOOSE * (config.model.candidates > 1)
    per_pixel += math.ceil(BYTES_PER_COEFFICIENT * samples_per_pixel(header))
    pixels = header.width * header.height
    return pixels * per_pixel + BYTES_TO_BLEND * is_refined * min(pixels, MAX_BAND_PX)


def prepare(
    record: Record, inputs: Inputs, config: JobConfig, window_px: int, header: Image.Image | None = None
) -> SampleJob:
    """Decode a sample and plan its windows.

    Args:
        record: its row so far.
        inputs: what was read.
        config: the job.
        window_px: side of the squares that the model sees.
        header: the image as opened by :func:`pipeline.codecs.identification.header.open_checked`, if it was.

    Raises:
        SampleError: the image or the mask cannot be used.
    """
    started = time.perf_counter()
    photo = decode(inputs.image, config.limits.max_pixels, header)
    record.height, record.width = photo.pixels.shape[:2]
    record.orientation = photo.orientation if photo.orientation > 1 else None
    drawn = draw_mask(inputs.mask, photo, settings_of(inputs, config.mask), config.limits.max_pixels)
    repaint, record.mask_objects, record.mask_score = drawn.pixels, drawn.objects, drawn.score
    if drawn.restored is not None and drawn.computed is not None:
        record.mask_computed = np.count_nonzero(drawn.computed) / drawn.computed.size
        record.mask_place = drawn.place
        refuse_change(outside_max_diff(photo.pixels, drawn.restored, drawn.changed))
        photo = replace(photo, pixels=drawn.restored)
    photo = revealed(photo, repaint, config.mask)
    record.mask_fraction = np.count_nonzero(repaint) / repaint.size
    windows = plan_windows(repaint, window_px, config.window.context, config.window.max_upscale)
    record.window_count = len(windows)
    is_changed = bool(windows or record.mask_computed)
    second = SecondPass(window_px, config.window.refine) if config.window.refine else None
    is_encoded = is_changed or config.sink.image_format not in KEPT_FORMATS or config.sink.metadata == PRIVATE
    if is_encoded:  # else the input is passed through
        check_encodable(photo, config.sink.image_format)
    seen = photo.rgb() if windows else np.empty((0, 0, 3), np.uint8)
    job = SampleJob(
        *(record, inputs.image, photo, repaint, seen, windows, record.seed or 0),
        candidates=config.model.candidates,
        second=second,
        computed=drawn.computed,
    )
    record.window_count = job.window_count
    record.decode_s = time.perf_counter() - started
    return job


def finish(job: SampleJob, config: JobConfig, signer: ResultSigner | None = None) -> bytes:
    """Composite, check, encode and sign a sample whose windows are filled; complete its row except for the uri.

    Args:
        job: whose windows are filled.
        config: the job.
        signer: signs what has changed; ``None`` for nobody.

    Raises:
        SampleError: the result cannot be encoded, a pixel outside the mask has changed, or the fill is suspicious
            and ``limits.suspicious`` says fail.
        SigningError: the signer cannot sign any more.
    """
    started = time.perf_counter()
    record, image_format = job.record, config.sink.image_format
    is_changed = bool(job.windows or record.mask_computed)
    is_passed = not is_changed and image_format in (*KEPT_FORMATS, job.photo.format.lower())
    if is_passed and (whole := passed_through(job.photo, job.source, config.sink.metadata)):
        data, container = whole, job.photo.format
        record.outside_max_diff = 0
        record.blocks_changed = 0 if container == "JPEG" else None
    else:
        pixels = job.composite()
        if job.box:
            border = job.border or look_at_border(job.patch, job.mask[job.inside])
            record.seam_score, record.suspicious = border.seam_score, border.suspicious
            if border.suspicious and config.limits.suspicious == "fail":
                message = f"the fill is {border.suspicious} along its border, limits.suspicious=fail"
                raise SampleError("inpaint", "SuspiciousFill", message)
        container = check_encodable(job.photo, image_format)
        provenance = INPAINTED if job.windows else COMPUTED if record.mask_computed else None
        photo, record.metadata_note = with_policy(job.photo, container, config.sink.metadata, provenance)
        filled = encode_filled(photo, pixels, image_format, job.source, job.changed)
        data, container, record.blocks_changed = filled
        if signer and provenance:
            source = b"" if config.sink.metadata == PRIVATE else job.source
            data, note = signer.sign(data, container, source, job.photo.format, provenance)
            record.metadata_note = "; ".join(filter(None, (record.metadata_note, note))) or None
    record.status = OK if is_changed else UNCHANGED
    record.output_format = container.lower()
    record.output_bytes = len(data)
    record.output_sha256 = hashlib.sha256(data).hexdigest()
    record.encode_s = time.perf_counter() - started
    return data
