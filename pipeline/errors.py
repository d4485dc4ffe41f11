"""Exceptions of the pipeline: some fail one sample, others stop the job."""

from pipeline.uris import public_text

STAGES = ("read", "decode", "mask", "inpaint", "encode", "write")
MACHINE_ERRORS = (MemoryError, ImportError)  # caused by the machine, not by the image, while decoding or encoding


class ConfigError(ValueError):
    """An invalid configuration; raised before any worker starts."""

    def __init__(self, message: str) -> None:
        super().__init__(public_text(message))


class DamagedManifestError(RuntimeError):
    """A part of the manifest is damaged; the message names the part and the remedy."""


class JobError(RuntimeError):
    """The job ended before all samples were processed; running the same command again resumes it."""


class ExecutorError(RuntimeError):
    """The executor of the workers failed or does not answer; no sample is to blame."""


class SampleError(Exception):
    """The failure of one sample; it becomes the sample's manifest row and affects no other sample.

    Args:
        stage: one of ``STAGES``.
        kind: short name for counting and filtering, such as ``TruncatedImage``.
        message: human-readable sentence; secrets in uris are hidden.
    """

    def __init__(self, stage: str, kind: str, message: str) -> None:
        assert stage in STAGES, stage
        message = public_text(message)
        super().__init__(stage, kind, message)
        self.stage, self.kind, self.message = stage, kind, message

    @property
    def columns(self) -> dict[str, str]:
        """Return the error as manifest columns."""
        return {"error_stage": self.stage, "error_type": self.kind, "error_message": self.message}

    @classmethod
    def wrap(cls, stage: str, error: Exception) -> "SampleError":
        """Return a ``SampleError`` unchanged, and wrap any other exception of the stage."""
        return error if isinstance(error, cls) else cls(stage, type(error).__name__, str(error) or repr(error))


class AccessError(SampleError):
    """A sample that this machine cannot access: missing, changed, or not permitted.

    Another machine may be able to read it, so it does not fail the sample by itself; see :mod:`pipeline.faults.judge`.
    """
