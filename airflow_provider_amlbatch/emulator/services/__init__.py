"""The rules of the services: a module per service, no HTTP."""
