"""Pagers: who keeps the pages that are not in memory: a device, page files, somebody outside."""
