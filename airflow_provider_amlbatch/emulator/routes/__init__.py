"""HTTP to wire types and back: a module per service, short handlers, no rules."""

from __future__ import annotations

from fastapi import APIRouter

ROUTERS: list[APIRouter] = []
