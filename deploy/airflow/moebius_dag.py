"""A run every night through the job server of a running Ray cluster, for Airflow 3.

The worker that runs the task needs ``pip install "ray[default]"``, and the variables ``moebius_ray_address`` (such as
``http://ray-head:8265``) and ``moebius_working_dir`` (a checkout of this repository). A task that is tried again goes
on with what is left; two at once do no harm, since the second finds the sink held and ends with exit code 1. A task
that is stopped or runs out of time leaves its job running in the cluster: ``ray job stop`` ends that.
"""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

SUBMIT = """
set -euo pipefail
ray job submit --address '{{ var.value.moebius_ray_address }}' \
    --working-dir '{{ var.value.moebius_working_dir }}' \
    -- python -m jobs.inpaint conf/cluster.yaml
"""

with DAG(
    dag_id="moebius",
    description="Repaint what is new in the bucket",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["moebius"],
) as dag:
    BashOperator(
        task_id="inpaint",
        bash_command=SUBMIT,
        append_env=True,
        retries=2,
        retry_delay=timedelta(minutes=10),
        execution_timeout=timedelta(hours=20),
    )
