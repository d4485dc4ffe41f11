"""Attributes an error to the sample, the worker's environment, or a storage that accepts nothing.

A fault of the *content* (bytes, mask, pixels) is the same on every machine and fails the sample at once. A fault of the
*environment* (missing file, permission, network, memory, device, installation) may be that of one machine only: the
sample is deferred, and fails only when a worker that is proven to work meets a fault again
(:mod:`pipeline.worker.worker`). A storage that is full or read-only, and credentials that are refused, never fail a
sample.
"""

import errno

from pipeline.errors import AccessError, SampleError
from pipeline.faults.sink_holder import SinkTakenOver
from pipeline.records import DEFERRED, FAILED, HELD, RETURNED, UNDONE, Record
from pipeline.storage.errors import CredentialsError

FINAL_NUMBERS = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR)  # of a disk: every try ends the same way
HELD_NUMBERS = (errno.EROFS, errno.ENOSPC, errno.EDQUOT)


MEMORY_ERRORS = ("MemoryError", "OutOfMemoryError")  # of the machine, of PyTorch: another process may free it


class TimedOut(Exception):
    """One step of a sample took longer than ``limits.sample_s``."""


class WorkerLeaving(Exception):
    """The worker ends: its node is being drained, or its process received SIGTERM."""


def judge(error: Exception) -> str:
    """Return the status for an error: ``FAILED``, ``DEFERRED``, ``HELD`` or ``RETURNED``."""
    if isinstance(error, WorkerLeaving):
        return RETURNED
    if isinstance(error, SampleError):
        return DEFERRED if isinstance(error, AccessError) else FAILED
    if isinstance(error, CredentialsError | SinkTakenOver):
        return HELD
    if isinstance(error, OSError):
        return FAILED if error.errno in FINAL_NUMBERS else HELD if error.errno in HELD_NUMBERS else DEFERRED
    return DEFERRED


def fail(record: Record, stage: str, error: Exception) -> Record:
    """Set the error and status of a row according to :func:`judge`, and return it."""
    fault = SampleError.wrap(stage, error)
    record.status = judge(error)
    record.output_format = record.output_bytes = record.output_sha256 = record.output_uri = record.output_member = None
    record.error_stage, record.error_type, record.error_message = fault.stage, fault.kind, fault.message
    return record


def confirm(record: Record) -> None:
    """Fail a deferred sample after a tested worker has met the fault again."""
    if record.status == DEFERRED:
        record.status = FAILED


def is_undone(record: Record) -> bool:
    """Return whether the sample is deferred, held or returned."""
    return record.status in UNDONE


def may_pass(error: Exception) -> bool:
    """Return whether an error may be transient: a storage may come back, a broken installation does not."""
    return isinstance(error, OSError | AccessError) or type(error).__name__ in MEMORY_ERRORS
