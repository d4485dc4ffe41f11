"""What stands in deploy/, against the schemas and the options of those who read it."""

import ast
import re
import subprocess
from collections.abc import Iterator
from importlib.metadata import version

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
KUBERNETES = "1.34"
CRDS = yaml.safe_load((ROOT / "tests" / "deploy" / "kuberay_crds.yaml").read_text())
SBATCH = set(
    re.findall(
        r"[\w-]+",
        """account array begin chdir comment constraint cpus-per-gpu cpus-per-task dependency error exclude exclusive
    export gpus gpus-per-node gpus-per-task gres hint job-name licenses mail-type mail-user mem mem-per-cpu mem-per-gpu
    nice nodelist nodes no-requeue ntasks ntasks-per-node open-mode output parsable partition qos requeue reservation
    signal switches time time-min tmp tres-per-task wait wckey wrap""",
    )
)


def manifests(name: str) -> list[dict]:
    return list(yaml.safe_load_all((DEPLOY / "kuberay" / name).read_text()))


def strict(schema: dict) -> dict:
    """As the server reads it with `kubectl --validate=strict`: a key that it does not know is an error."""
    if isinstance(schema, dict):
        closed = {key: strict(value) for key, value in schema.items()}
        return closed | ({"additionalProperties": False} if "properties" in schema else {})
    return schema


def pod_templates(node: object) -> Iterator[dict]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("template", "submitterPodTemplate"):
                yield value
            else:
                yield from pod_templates(value)
    elif isinstance(node, list):
        for value in node:
            yield from pod_templates(value)


def faults(manifest: dict) -> list[str]:
    """What KubeRay's schema has against a manifest of ours, and Kubernetes' against its pods."""
    name = manifest["kind"].lower()
    schema = {"$ref": f"#/{name}", **strict(CRDS)}
    found = [error.message for error in Draft202012Validator(schema).iter_errors(manifest["spec"])]
    for template in pod_templates(manifest["spec"]):
        pod = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {"name": "x", **template["metadata"]}}
        try:
            kubernetes_validate.validate(pod, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(error.message)
    return found


@pytest.mark.parametrize(("file", "kind"), [("rayjob.yaml", "RayJob"), ("raycronjob.yaml", "RayCronJob")])
def test_ray_manifest_is_what_kuberay_takes(file, kind):
    (manifest,) = manifests(file)
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", kind)
    assert faults(manifest) == []
    assert len(list(pod_templates(manifest["spec"]))) == 2


def test_faults_of_a_manifest_are_found():
    (manifest,) = manifests("raycronjob.yaml")
    spec = manifest["spec"]
    spec["concurrencyPolicy"] = "Forbid"
    spec["jobTemplate"]["backoffLimit"] = "none"
    head = spec["jobTemplate"]["rayClusterSpec"]["headGroupSpec"]
    head["rayStartParams"]["num-cpus"] = 0
    head["template"]["spec"]["containers"][0]["volumes"] = []
    del spec["jobTemplate"]["rayClusterSpec"]["workerGroupSpecs"][0]["groupName"]
    found = " ".join(faults(manifest))
    for word in (
        "concurrencyPolicy",
        "'none' is not of type",
        "0 is not of type",
        "volumes",
        "'groupName' is a required",
    ):
        assert word in found


def test_both_ray_manifests_run_the_same_cluster():
    (job,), (cron,) = manifests("rayjob.yaml"), manifests("raycronjob.yaml")
    assert {**job["spec"], "backoffLimit": 0} == cron["spec"]["jobTemplate"]
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == version("ray")


def test_workers_have_the_cores_that_they_ask_for_and_the_head_has_none():
    """Older operators look at limits alone; where there is none, Ray takes all cores and GPUs of the machine."""
    for spec in (manifests("rayjob.yaml")[0]["spec"], manifests("raycronjob.yaml")[0]["spec"]["jobTemplate"]):
        head, (group,) = spec["rayClusterSpec"]["headGroupSpec"], spec["rayClusterSpec"]["workerGroupSpecs"]
        assert head["rayStartParams"].items() >= {"num-cpus": "0", "num-gpus": "0"}.items()
        (worker,) = group["template"]["spec"]["containers"]
        assert group["rayStartParams"]["num-cpus"] == worker["resources"]["requests"]["cpu"]


def test_cron_job_is_what_kubernetes_takes_and_may_do_what_it_does():
    for manifest in manifests("cronjob.yaml"):
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    _, role, binding, job = manifests("cronjob.yaml")
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (script,) = pod["containers"][0]["args"]
    assert subprocess.run(["sh", "-n", "-c", script], check=True)
    assert set(re.findall(r"kubectl (\w+)", script)) == set(role["rules"][0]["verbs"])
    assert binding["subjects"][0]["name"] == pod["serviceAccountName"]
    assert job["spec"]["concurrencyPolicy"] == "Forbid"


def test_everything_runs_the_same_configuration():
    commands = {path: path.read_text() for path in DEPLOY.rglob("*") if path.suffix in (".yaml", ".py", ".sbatch")}
    named = {path.name: set(re.findall(r"conf/\w+\.yaml", text)) for path, text in commands.items()}
    for name in ("cronjob.yaml", "queues.yaml", "pool.yaml"):  # what runs in them is in files beside them
        assert named.pop(name) == set()
    assert all(names == {"conf/cluster.yaml"} for names in named.values()), named


def test_slurm_script_parses_and_asks_for_what_slurm_knows():
    path = DEPLOY / "slurm" / "moebius.sbatch"
    subprocess.run(["bash", "-n", path], check=True)
    lines = path.read_text().splitlines()
    options = [line.split()[1] for line in lines if line.startswith("#SBATCH")]
    assert options and {option.lstrip("-").partition("=")[0] for option in options} <= SBATCH
    first_command = next(index for index, line in enumerate(lines) if line and not line.startswith("#"))
    assert not any(line.startswith("#SBATCH") for line in lines[first_command:])  # Slurm reads no further


def test_dag_passes_what_its_operator_takes():
    path = DEPLOY / "airflow" / "moebius_dag.py"
    tree = ast.parse(path.read_text())
    calls = {node.func.id: node for node in ast.walk(tree) if isinstance(node, ast.Call) and hasattr(node.func, "id")}
    # of Airflow 3: airflow.sdk.DAG; BashOperator and, for the last four, BaseOperator
    dag = {"dag_id", "description", "schedule", "start_date", "catchup", "max_active_runs", "tags"}
    bash = {"task_id", "bash_command", "append_env", "env", "retries", "retry_delay", "execution_timeout"}
    assert {word.arg for word in calls["DAG"].keywords} <= dag
    assert {word.arg for word in calls["BashOperator"].keywords} <= bash
    (script,) = (node.value.value for node in tree.body if isinstance(node, ast.Assign))
    subprocess.run(["bash", "-n", "-c", script], check=True)


def test_image_holds_what_the_project_needs():
    text = (DEPLOY / "Dockerfile").read_text()
    copied = {word for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE) for word in line.split()}
    assert all((ROOT / name).exists() for name in copied)
    project = (ROOT / "pyproject.toml").read_text()
    packages = re.search(r"packages\.find\]\ninclude = \[(.*?)\]", project)[1]
    assert {*re.findall(r'"(\w+)', packages), "conf", "README.md", "LICENSE", "constraints.txt"} <= copied
    (extras,) = re.findall(r"-e '\.\[(.*)\]'", text)
    assert all(f"\n{extra} = [\n" in project for extra in extras.split(","))
    installed = set(re.search(r"--no-install-recommends (.*) \\", text)[1].split())
    assert {"gcc", "libc6-dev"} <= installed  # Triton compiles with them
    (of_index,) = re.findall(r"pip install (.*--index-url .*) torch", text)
    assert "--no-deps" in of_index  # that index has not all the versions of constraints.txt
    kept = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == copied
