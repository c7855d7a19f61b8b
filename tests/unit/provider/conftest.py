"""Leave out what a version of Airflow has not."""

from airflow_names import AIRFLOW_VERSION

#: Retry policies come with Airflow 3.3.
collect_ignore = ["test_retry_policy.py"] if AIRFLOW_VERSION < (3, 3) else []
