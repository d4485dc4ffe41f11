"""Manifests for clusters that grow and for queues, against the schemas of their readers and against each other."""

import copy
import os
import shutil
import subprocess

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.conftest import ROOT
from tests.deploy.test_deploy import DEPLOY, faults, manifests, pod_templates, strict

KUEUE = yaml.safe_load((ROOT / "tests" / "deploy" / "kueue_crds.yaml").read_text())
SPOT = {"cloud.google.com/gke-spot": "true"}
TOLERATION = {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}


def queue_faults(manifest: dict) -> list[str]:
    """Return the faults that Kueue's schema finds in a manifest of ours."""
    schema = {"$ref": f"#/{manifest['kind'].lower()}", **strict(KUEUE)}
    return [error.message for error in Draft202012Validator(schema).iter_errors(manifest.get("spec", {}))]


@pytest.fixture
def queues() -> dict[str, dict]:
    found = list(yaml.safe_load_all((DEPLOY / "kueue" / "queues.yaml").read_text()))
    assert {manifest["apiVersion"] for manifest in found} == {"kueue.x-k8s.io/v1beta2"}
    return {f"{manifest['kind']}/{manifest['metadata']['name']}": manifest for manifest in found}


@pytest.fixture
def queued() -> dict:
    return yaml.safe_load((DEPLOY / "kueue" / "rayjob.yaml").read_text())


def test_queues_are_what_kueue_takes_and_name_each_other(queues):
    assert {name: queue_faults(manifest) for name, manifest in queues.items() if queue_faults(manifest)} == {}
    queue = queues["ClusterQueue/moebius"]["spec"]
    assert queues["LocalQueue/moebius"]["spec"]["clusterQueue"] == "moebius"
    (group,) = queue["resourceGroups"]
    assert {f"ResourceFlavor/{flavor['name']}" for flavor in group["flavors"]} <= queues.keys()
    for flavor in group["flavors"]:
        assert [quota["name"] for quota in flavor["resources"]] == group["coveredResources"]


def test_faults_of_queues_are_found(queues):
    queue = queues["ClusterQueue/moebius"]
    queue["spec"]["cohort"] = "all"  # of v1beta1
    queue["spec"]["queueingStrategy"] = "Fifo"
    del queue["spec"]["resourceGroups"][0]["flavors"][0]["resources"][0]["nominalQuota"]
    queues["ResourceFlavor/spot"]["spec"]["nodeTaints"][0]["effect"] = "Never"
    found = " ".join(queue_faults(queue) + queue_faults(queues["ResourceFlavor/spot"]))
    for word in (
        "'cohort' was unexpected",
        "'Fifo' is not one of",
        "'nominalQuota' is a required",
        "'Never' is not one",
    ):
        assert word in found


def test_queued_run_is_the_plain_one_which_a_queue_starts(queued):
    assert faults(queued) == []
    (plain,) = manifests("rayjob.yaml")
    assert queued["spec"].pop("suspend") is True
    assert queued["metadata"]["labels"].pop("kueue.x-k8s.io/queue-name") == "moebius"
    worker = queued["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]
    assert worker.pop("tolerations") == [TOLERATION]
    assert queued == plain


def test_queue_admits_the_run_on_spot_machines_and_its_head_elsewhere(queued, queues):
    spot, other = queues["ClusterQueue/moebius"]["spec"]["resourceGroups"][0]["flavors"]
    assert queues[f"ResourceFlavor/{spot['name']}"]["spec"]["nodeTaints"][0].items() < TOLERATION.items()
    assert "spec" not in queues[f"ResourceFlavor/{other['name']}"]
    cluster = queued["spec"]["rayClusterSpec"]
    (group,) = cluster["workerGroupSpecs"]
    head, worker = cluster["headGroupSpec"]["template"]["spec"], group["template"]["spec"]
    assert "tolerations" not in head
    assert fits(worker, group["replicas"], spot) and not fits(worker, 3 * group["replicas"], spot)
    assert fits(head, 1, other)


def fits(pod: dict, count: int, flavor: dict) -> bool:
    """Whether pods with one container fit into the quota of a flavor, which has every resource that they request."""
    (container,) = pod["containers"]
    quota = {entry["name"]: amount(entry["nominalQuota"]) for entry in flavor["resources"]}
    requests = container["resources"]["requests"]
    return all(count * amount(value) <= quota[name] for name, value in requests.items())


def amount(quantity: str | int) -> int:
    text = str(quantity)
    return int(text.removesuffix("Gi")) * (2**30 if text.endswith("Gi") else 1)


@pytest.fixture
def growing() -> dict:
    (manifest,) = manifests("rayjob-autoscaling.yaml")
    return manifest


def test_growing_cluster_is_what_kuberay_takes(growing):
    assert faults(growing) == []
    broken = copy.deepcopy(growing)
    broken["spec"]["rayClusterSpec"]["autoscalerOptions"] |= {"upscalingMode": "Fast", "idleTimeout": 5}
    found = " ".join(faults(broken))
    assert "'Fast' is not one of" in found and "'idleTimeout' was unexpected" in found


def test_growing_cluster_begins_without_gpus_and_ends_with_those_that_the_run_may_use(growing):
    cluster = growing["spec"]["rayClusterSpec"]
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["headGroupSpec"]["rayStartParams"].items() >= {"num-cpus": "0", "num-gpus": "0"}.items()
    groups = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    assert all(group["minReplicas"] == 0 and "replicas" not in group for group in groups.values())
    (actors,) = [word for word in growing["spec"]["entrypoint"].split() if word.startswith("run.actors=")]
    assert actors.endswith(f"..{groups['spot']['maxReplicas']}")
    assert all(template["spec"]["restartPolicy"] == "Never" for template in pod_templates(growing))


def test_only_the_spot_group_is_on_spot_machines_and_all_may_finish_their_batch(growing):
    groups = growing["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    for group in groups:
        pod, is_spot = group["template"]["spec"], group["groupName"] == "spot"
        assert pod.get("nodeSelector") == (SPOT if is_spot else None)
        assert pod.get("tolerations") == ([TOLERATION] if is_spot else None)
        assert pod["terminationGracePeriodSeconds"] == 120
        (worker,) = pod["containers"]
        assert worker["resources"]["limits"]["nvidia.com/gpu"] == "1"
    (plain,) = manifests("rayjob.yaml")
    (expected,) = plain["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert [group["template"]["spec"]["containers"] for group in groups] == 2 * [
        expected["template"]["spec"]["containers"]
    ]


def test_pod_that_ends_tells_ray_start_and_waits_for_its_node(growing, tmp_path):
    """The hook of a pod, with stand-ins for KubeRay's shell, `ray start` and the raylet in a process namespace."""
    if os.geteuid():
        pytest.skip("a process namespace needs root")
    pod = growing["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]
    (hook,) = [container["lifecycle"]["preStop"]["exec"]["command"][2] for container in pod["containers"]]
    (tmp_path / "raylet").symlink_to(shutil.which("sleep"))
    (tmp_path / "ray").write_text(
        "#!/bin/bash\nraylet 60 & child=$!\ntrap 'sleep 1; kill $child; echo drained; exit' TERM\nwait $child; wait\n"
    )
    (tmp_path / "ray").chmod(0o755)
    pod_shell = "(ulimit -n 1024; ray start --block; true) & until pgrep raylet > /dev/null; do sleep 0.1; done"
    script = f"{pod_shell}; {hook}; echo left"
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "bash", "-c", script]
    done = subprocess.run(
        command,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == ["drained", "left"], done.stderr
