"""The crash explorer of FAT volumes: histories of operations, the states that a power cut can
leave, and their judgement by docs/crash.md.
"""
