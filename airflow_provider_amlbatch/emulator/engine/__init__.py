"""The engine: executes pipeline runs out of a job folder, in processes of its own.

The folder is the protocol (:mod:`.folder`): the service writes ``job.json`` and may write ``cancel``; the controller
writes ``report.json``. Neither calls the other.
"""
