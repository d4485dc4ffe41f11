"""Gives the nodes of a cluster the weights that only the driver may have."""

from dataclasses import replace

from moebius.weights import Weights
from pipeline.cluster.connect import starts_local
from pipeline.config.job import JobConfig
from pipeline.storage.storage import Storage
from pipeline.storage.weights import publish_weights


def with_fetchable_weights(config: JobConfig, weights: Weights, sink: Storage) -> JobConfig:
    """Return the job with weights that every node can fetch.

    Weights by path or from the hub are copied into the sink's bucket, once, and named by their uri there. Nodes have
    ``nano`` and ``untrained`` already, fetch any other uri themselves, and find paths on a disk that they share with a
    sink; a local cluster is on this machine.
    """
    name = config.model.weights
    is_everywhere = name in ("nano", "untrained") or ("://" in name and not name.startswith(("hf://", "file://")))
    if is_everywhere or sink.is_local or starts_local(config.run.address):
        return config
    return replace(config, model=replace(config.model, weights=publish_weights(weights, sink)))
