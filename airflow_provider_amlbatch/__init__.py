"""Apache Airflow provider for Azure Machine Learning batch inference.

This module imports nothing: Airflow loads the provider's entry point while its own configuration is being initialised.
"""

__version__ = "0.1.0"
