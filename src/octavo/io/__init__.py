"""Requests to devices, the volumes on them, and faults to inject."""
