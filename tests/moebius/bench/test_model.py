import importlib.util
import json
import subprocess
import sys
from importlib.metadata import version
from types import SimpleNamespace

import pytest
import torch

import moebius.bench.model
from jobs.bench import main
from moebius import MoebiusConfig
from moebius.bench.ceilings import Ceilings
from moebius.bench.counting import step_macs
from moebius.bench.flux import measure_flux
from moebius.bench.model import measure_model
from moebius.weights import find_weights
from tests.conftest import ROOT

BARE_MACHINE = """
import sys
for name in ("ray", "pyarrow", "fsspec", "omegaconf", "duckdb", "diffusers"):
    sys.modules[name] = None
import moebius.bench.ceilings
moebius.bench.ceilings.SIDES["cpu"] = 512  # large enough, and quick where bf16 is emulated
from jobs.bench import main
sys.exit(main(sys.argv[1:]))
"""


def test_bench_model_on_a_machine_without_the_pipelines_packages_measures_every_arrangement(tiny_weights, tmp_path):
    target = tmp_path / "figures" / "model.json"
    arguments = ["model", "--weights", str(tiny_weights), "--device", "cpu", "--quick", "--output", str(target)]
    result = subprocess.run(
        [sys.executable, "-c", BARE_MACHINE, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    figures = json.loads(target.read_text())
    runs = {(run["path"], run["precision"]): run for run in figures["runs"]}
    assert set(runs) == {(path, precision) for path in ("reference", "fast") for precision in ("fp32", "bf16")}
    for run in runs.values():
        emulated = run["precision"] == "bf16" and not torch.cpu._is_avx512_bf16_supported()
        assert run["of_floor"] > 0 and (run["of_floor"] < 1 or emulated)  # the ceiling of emulated products is low
        assert 0 < run["vae_share"] < 1 and run["load_s"] > 0 and run["peak_mb"] > 50
        assert run["image_s"] == pytest.approx(figures["steps"] * run["step_s"] + run["vae_s"])
    assert figures["windows_per_second"] == runs["fast", "fp32"]["images_per_s"]  # on a CPU
    assert figures["versions"]["torch"] == version("torch") and figures["parameters"] > 1e5
    assert "windows_per_second" in result.stdout and "of_floor" in result.stdout


def test_batch_sizes_that_the_memory_does_not_hold_are_left_out(tiny_weights, monkeypatch):
    sizes = []

    def times(model, config, batch_size, *_):
        sizes.append(batch_size)
        return float(batch_size), 1.0

    monkeypatch.setattr(moebius.bench.model, "measure_ceilings", lambda *_: Ceilings(100.0, 10.0))
    monkeypatch.setattr(moebius.bench.model, "_times", times)
    monkeypatch.setattr(moebius.bench.model, "peak_memory_mb", lambda _: 90.0 + 10 * sizes[-1])
    monkeypatch.setattr(moebius.bench.model, "memory_mb", lambda _: 129.0)  # four would take 130
    threads = torch.get_num_threads()
    figures = measure_model(find_weights(str(tiny_weights)), torch.device("cpu"), [4, 1, 2], 0.0)
    torch.set_num_threads(threads)
    assert [run.batch_size for run in figures.runs] == [1, 2] * 4
    assert figures.windows_per_second == pytest.approx(1 / (figures.steps + 0.5))


@pytest.mark.slow
def test_operations_are_those_of_the_paper_and_fewer_arranged_for_speed():
    plain, fast = (step_macs(MoebiusConfig(), is_fast) for is_fast in (False, True))
    assert plain == pytest.approx(2 * 0.154e12, rel=0.01)  # both branches
    assert fast < 0.76 * plain


def test_floor_is_the_longer_of_operations_and_bytes():
    ceilings = Ceilings(matmul_gflops=100.0, memory_gb_s=10.0)
    assert ceilings.least_s(macs=50 * 10**9, moved_bytes=10**9) == pytest.approx(1.0)
    assert ceilings.least_s(macs=10**9, moved_bytes=5 * 10**9) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["--versus", "flux"], "needs a GPU"),
        (["--device", "abacus"], "got abacus"),
        (["--weights", "/nonexistent"], "weights must be one of"),
    ],
)
def test_bench_model_refuses_before_it_measures(arguments, rule, capsys):
    assert main(["model", "--device", "cpu", *arguments]) == 2
    assert rule in capsys.readouterr().err


def test_flux_without_diffusers_names_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    assert main(["model", "--device", "cpu", "--versus", "flux"]) == 2
    assert "--versus flux needs diffusers: pip install -c constraints.txt -e '.[flux]'" in capsys.readouterr().err


def test_flux_is_timed_from_its_configuration_alone():
    transformer = {
        "patch_size": 1,
        "in_channels": 24,
        "out_channels": 16,
        "num_layers": 1,
        "num_single_layers": 1,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "pooled_projection_dim": 16,
        "guidance_embeds": True,
        "axes_dims_rope": (4, 6, 6),
    }
    vae = {"block_out_channels": (8, 8), "down_block_types": ("DownEncoderBlock2D",) * 2}
    vae |= {"up_block_types": ("UpDecoderBlock2D",) * 2, "latent_channels": 4, "norm_num_groups": 4}
    figures = measure_flux(torch.device("cpu"), 0.01, 32, transformer, vae)
    assert figures.parameters > 1000 and figures.steps == 50
    assert figures.image_s == pytest.approx(50 * figures.step_s + figures.vae_s)


@pytest.mark.slow
def test_profile_has_a_table_for_each_part_of_the_model():
    command = [sys.executable, "benchmarks/profile_model.py", "--device", "cpu", "--precision", "fp32"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    parts = result.stdout.split("a batch of 1 on cpu")
    assert [part.splitlines()[-1].split(",")[0] for part in parts[:-1]] == [
        "a guided step",
        "an encoding",
        "a decoding",
    ]
    assert all("convolution" in table for table in parts[1:])


def test_profile_times_each_of_our_kernels_by_shape(monkeypatch):
    jit = pytest.importorskip("triton.runtime.jit")
    spec = importlib.util.spec_from_file_location("profile_model", ROOT / "benchmarks" / "profile_model.py")
    profile_model = sys.modules["profile_model"] = importlib.util.module_from_spec(spec)  # its dataclass looks there
    spec.loader.exec_module(profile_model)
    launched = []
    monkeypatch.setattr(jit.JITFunction, "run", lambda kernel, *given, **named: launched.append((given, named)))
    maps = torch.empty(1000, dtype=torch.bfloat16), torch.empty(1000), None, 7
    with profile_model.noted_launches() as launches:
        for given in (maps, maps, (torch.empty(5000),)):
            jit.JITFunction.run(SimpleNamespace(__name__="_scaled"), *given, grid=(1,), warmup=False)
        jit.JITFunction.run(SimpleNamespace(__name__="_summed"), torch.empty(10), grid=(1,), warmup=False)
    assert launched[0] == (maps, {"grid": (1,), "warmup": False}) and len(launched) == 4

    def median_ms(again):
        again()
        return 0.5 * launched[-1][0][0].element_size()

    lines = profile_model.kernel_table(launches, 0.1, median_ms).splitlines()
    names = [line.split(" of a copy  ")[1] for line in lines]
    both = "_scaled (1000,) bfloat16, (1000,) float32"
    assert names[:2] == ["_scaled", "_summed"] and set(names[2:]) == {
        both,
        "_scaled (5000,) float32",
        "_summed (10,) float32",
    }
    assert lines[0].split()[:3] == ["4.000", "ms", "3"] and "0.08 of a copy" in lines[0]  # 32,000 bytes in 4 ms
    assert next(line for line in lines if both in line).split()[2] == "2"
