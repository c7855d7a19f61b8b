"""An emulator of the Azure ML services that batch inference needs.

The unmodified azureml SDK is its client, over HTTPS on this machine. It is reached only through a connection or
environment variables that name it.
"""
