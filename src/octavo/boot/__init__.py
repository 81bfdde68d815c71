"""From a firmware map to frames: what memory there is, how it is divided, and where the first
tables lie.
"""
