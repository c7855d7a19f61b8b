"""What Airflow is told about the provider. Imports nothing: Airflow reads it while its configuration starts."""


def _text(label: str, description: str, **schema: object) -> dict[str, object]:
    return {"label": label, "description": description, "schema": {"type": ["string", "null"], **schema}}


#: The connection form's extra fields, under the names that the Microsoft Azure provider uses where it has them.
CONNECTION_FIELDS = {
    "subscriptionId": _text("Subscription ID", "The Azure subscription of the workspace"),
    "resource_group_name": _text("Resource group", "The resource group of the workspace"),
    "workspace_name": _text("Workspace", "The Azure Machine Learning workspace"),
    "tenantId": _text("Tenant ID", "The directory of the service principal"),
    "auth_mode": _text(
        "Authentication",
        "How the identity is proved; left empty: client_secret when there is a secret, otherwise default",
        enum=[
            "client_secret",
            "certificate",
            "managed_identity",
            "workload_identity",
            "azure_cli",
            "default",
        ],
    ),
    "certificate_path": _text(
        "Certificate file", "PEM or PKCS12 file on the worker, for authentication by certificate"
    ),
    "managed_identity_client_id": _text("Managed identity client ID", "Which managed or workload identity to use"),
    "workload_identity_tenant_id": _text("Workload identity tenant ID", "The directory of the workload identity"),
    "cloud": _text(
        "Cloud",
        "The Azure cloud; left empty: AzureCloud",
        enum=["AzureCloud", "AzureUSGovernment", "AzureChinaCloud", "custom"],
    ),
    "metadata_url": _text("Cloud metadata URL", "Where a private cloud, or the emulator, describes itself"),
    "ca_bundle": _text("CA bundle", "File of certificates on the worker to trust instead of the usual ones"),
}

FIELD_BEHAVIOUR = {
    "hidden-fields": ["host", "schema", "port", "extra"],
    "relabeling": {"login": "Client ID", "password": "Client secret"},
    "placeholders": {
        "login": "Application (client) ID of the service principal",
        "password": "Its secret, or the passphrase of its certificate",
    },
}

_NAME = "Azure Machine Learning batch inference"
_PACKAGE = "airflow_provider_amlbatch"


def get_provider_info() -> dict[str, object]:
    """Describe the provider to Airflow."""
    return {
        "package-name": "airflow-provider-amlbatch",
        "name": _NAME,
        "description": "Register models, publish and invoke ParallelRunStep pipelines, wait for them without holding a "
        "worker, and collect their predictions.",
        "integrations": [
            {
                "integration-name": _NAME,
                "external-doc-url": "https://learn.microsoft.com/azure/machine-learning/v1/",
                "tags": ["azure"],
            }
        ],
        "operators": [
            {
                "integration-name": _NAME,
                "python-modules": [
                    f"{_PACKAGE}.operators.models",
                    f"{_PACKAGE}.operators.publishing",
                    f"{_PACKAGE}.operators.pipelines",
                    f"{_PACKAGE}.operators.runs",
                    f"{_PACKAGE}.operators.results",
                    f"{_PACKAGE}.operators.schedules",
                ],
            }
        ],
        "sensors": [
            {
                "integration-name": _NAME,
                "python-modules": [f"{_PACKAGE}.sensors.pipeline_run", f"{_PACKAGE}.sensors.schedules"],
            }
        ],
        "hooks": [{"integration-name": _NAME, "python-modules": [f"{_PACKAGE}.hooks.azureml_batch"]}],
        "triggers": [
            {
                "integration-name": _NAME,
                "python-modules": [f"{_PACKAGE}.triggers.pipeline_run", f"{_PACKAGE}.triggers.schedules"],
            }
        ],
        "plugins": [{"name": "amlbatch", "plugin-class": f"{_PACKAGE}.plugin.AzureMLBatchPlugin"}],
        "extra-links": [
            f"{_PACKAGE}.links.pipeline_run.AzureMLRunLink",
            f"{_PACKAGE}.links.published_pipeline.AzureMLPipelineLink",
        ],
        "connection-types": [
            {
                "connection-type": "azureml",
                "hook-class-name": f"{_PACKAGE}.hooks.azureml_batch.AzureMLBatchHook",
                "hook-name": "Azure Machine Learning",
                "ui-field-behaviour": FIELD_BEHAVIOUR,
                "conn-fields": CONNECTION_FIELDS,
            }
        ],
    }
