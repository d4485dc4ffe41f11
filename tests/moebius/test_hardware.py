import pytest
import torch
from torch.cuda._utils import _get_device_index

from moebius import hardware
from moebius.hardware import make_current, memory_mb


@pytest.mark.parametrize(("name", "made"), [("cuda", []), ("cuda:1", [1]), ("cpu", [])])
def test_gpu_with_a_number_is_made_the_current_one(name, made, monkeypatch):
    """What PyTorch refuses is refused here, too: a device without a number."""
    seen = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: seen.append(_get_device_index(device)))
    make_current(torch.device(name))
    assert seen == made


def test_memory_is_that_of_the_container_where_it_has_less(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(hardware, "CONTAINER_LIMIT", limit)
    machine_mb = memory_mb(torch.device("cpu"))
    for text, expected_mb in (("max\n", machine_mb), ("64000000\n", 64.0), (f"{1 << 60}\n", machine_mb)):
        limit.write_text(text)
        assert memory_mb(torch.device("cpu")) == expected_mb
