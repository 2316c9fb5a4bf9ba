"""Airflow 2 or 3: each night, transcribes what is new. Copy it to the folder of DAGs, and change the constants.

The job's exit statuses are in docs/running.md. 0 and 4 are a success: with 4, another run is at work on the output. 2
and 3 need a person, and are not retried. Anything else is a failure that Airflow retries, a job that was killed too.
"""

import logging
import signal
import subprocess
from datetime import datetime, timedelta

try:  # Airflow 3
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task
try:  # from 3.2 on
    from airflow.sdk.exceptions import AirflowException, AirflowFailException
except ImportError:
    from airflow.exceptions import AirflowException, AirflowFailException

FOLDER = "/opt/citrascribe"
COMMAND = [".venv/bin/citrascribe", "transcribe", "configs/archive.yaml"]

log = logging.getLogger(__name__)


@dag(
    dag_id="citrascribe",
    schedule="30 2 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
)
def nightly():
    task(retries=3, retry_delay=timedelta(minutes=10))(transcribe)()


def transcribe() -> None:
    status = status_of_job()
    if status == 4:
        log.info("another run is at work on this output: nothing to do")
    elif status in (2, 3):
        why = "a mistake in usage or configuration" if status == 2 else "more errors than the configuration allows"
        raise AirflowFailException(f"status {status}: {why}; see the log above")  # no retry
    elif status != 0:
        raise AirflowException(f"the job ended with status {status}; what it committed stays")


def status_of_job() -> int:
    """Runs the job, with its output in the task's log, and returns its exit status; -N if signal N killed it.

    If Airflow ends the task, with SIGTERM or an exception such as a timeout, SIGTERM is passed on, so that the job sums
    up and ends too.
    """
    jobs, is_ending = [], []
    airflows = signal.getsignal(signal.SIGTERM)

    def pass_on(number, frame):
        is_ending.append(number)
        for job in jobs:
            job.terminate()
        if jobs and callable(airflows):
            airflows(number, frame)  # in Airflow 2 it raises, in 3 it does not

    signal.signal(signal.SIGTERM, pass_on)
    try:
        job = subprocess.Popen(
            COMMAND, cwd=FOLDER, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        jobs.append(job)
        if is_ending:
            job.terminate()
        for line in job.stdout:
            log.info("%s", line.rstrip())
        return job.wait()
    finally:
        for job in jobs:
            if job.poll() is None:
                job.terminate()
            job.communicate()  # reads on, or a job that prints much would wait for ever
        signal.signal(signal.SIGTERM, airflows or signal.SIG_DFL)


nightly()
