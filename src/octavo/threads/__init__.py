"""Kernel threads as coroutines, what they wait on, and the scheduler in real or virtual time."""
