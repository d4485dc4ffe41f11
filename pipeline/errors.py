"""The ways in which things go wrong: a sample fails alone, a configuration or a damaged manifest stops the job."""

from pipeline.uris import public_text

STAGES = ("read", "decode", "mask", "inpaint", "encode", "write")


MACHINE_ERRORS = (MemoryError, ImportError)  # met while decoding or encoding, they tell nothing about the image


class ConfigError(ValueError):
    """A configuration that cannot work; raised before any worker starts."""

    def __init__(self, message: str) -> None:
        super().__init__(public_text(message))


class DamagedManifestError(RuntimeError):
    """A part of the manifest that is not what was written; the message names it and the way out."""


class JobError(RuntimeError):
    """The job ended with samples that nothing is known about; the same command goes on with them."""


class SampleError(Exception):
    """Why one sample fails; becomes its manifest row and touches no other sample.

    Args:
        stage: one of ``STAGES``.
        kind: short name for counting and filtering, such as ``TruncatedImage``.
        message: a sentence for a person; secrets of uris in it are hidden.
    """

    def __init__(self, stage: str, kind: str, message: str) -> None:
        assert stage in STAGES, stage
        message = public_text(message)
        super().__init__(stage, kind, message)
        self.stage, self.kind, self.message = stage, kind, message

    @property
    def columns(self) -> dict[str, str]:
        """The error as manifest columns."""
        return {"error_stage": self.stage, "error_type": self.kind, "error_message": self.message}

    @classmethod
    def wrap(cls, stage: str, error: Exception) -> "SampleError":
        """The error itself, or any other exception of a stage in this form."""
        return error if isinstance(error, cls) else cls(stage, type(error).__name__, str(error) or repr(error))


class AccessError(SampleError):
    """What one machine meets where a sample should be: nothing, another file, or no permission.

    Another machine may find the sample there, so this alone does not fail it; see :mod:`pipeline.faults.judge`.
    """
