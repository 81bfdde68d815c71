"""What stands in for hardware: RAM, firmware maps, page-table formats, clocks. The lowest layer;
imports nothing of Octavo but statuses.
"""
