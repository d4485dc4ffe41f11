"""Where results go: one file a sample, below ``data/``."""

from pipeline.storage import Storage

EXTENSIONS = {"png": ".png", "webp": ".webp", "jpeg": ".jpg"}


class ImageSink:
    """Results as single files. The name depends on the sample alone, so that doing a sample again replaces it.

    ``image_format: source`` keeps the sample's own path; another format appends its extension, so that ``a.jpg`` and
    ``a.png`` never end in the same file.
    """

    def __init__(self, storage: Storage, image_format: str) -> None:
        self.storage = storage
        self.suffix = EXTENSIONS.get(image_format, "")

    def key(self, sample_id: str) -> str:
        """Key of a sample's result, relative to the sink."""
        return f"data/{sample_id}{self.suffix}"

    def write(self, sample_id: str, data: bytes) -> str:
        """Store a result in one step and return its uri.

        Raises:
            ValueError: a sample id that would leave the sink.
        """
        key = self.key(sample_id)
        self.storage.write(key, data)
        return self.storage.uri(key)


SINKS = {"images": ImageSink}
