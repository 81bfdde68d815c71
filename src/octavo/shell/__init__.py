"""The native shell: commands on a booted system."""
