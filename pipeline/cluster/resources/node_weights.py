"""Gives the nodes of a cluster the weights and detectors that only the driver may have."""

from dataclasses import replace

from moebius.weights import Weights
from pipeline.cluster.connection.connect import starts_local
from pipeline.config.job import JobConfig
from pipeline.config.mask import MaskConfig
from pipeline.storage.files import fetch_file, publish_file
from pipeline.storage.storage import Storage
from pipeline.storage.weights import publish_weights


def with_fetchable_weights(config: JobConfig, weights: Weights, sink: Storage) -> JobConfig:
    """Return the job with weights and models of detectors that every node can fetch.

    Files by path or from the hub are copied into the sink's bucket, once, and named by their uri there. Nodes have
    ``nano`` and ``untrained`` already, fetch any other uri themselves, and find paths on a disk that they share with a
    sink; a local cluster is on this machine.
    """
    if sink.is_local or starts_local(config.run.address):
        return config
    name = config.model.weights
    if name not in ("nano", "untrained") and not _is_fetchable(name):
        config = replace(config, model=replace(config.model, weights=publish_weights(weights, sink)))
    return config.with_detectors(lambda mask: _with_fetchable_models(mask, sink))


def _with_fetchable_models(mask: MaskConfig, sink: Storage) -> MaskConfig:
    files = zip(mask.model or [], mask.model_sha256, strict=True)
    uris = [
        uri if _is_fetchable(uri) else publish_file(fetch_file(uri, {}, "mask.model"), sha256, sink, "mask.model")
        for uri, sha256 in files
    ]
    return replace(mask, model=uris or None)


def _is_fetchable(uri: str) -> bool:
    """Return whether every node can fetch a uri itself."""
    return "://" in uri and not uri.startswith(("hf://", "file://", "local://"))
