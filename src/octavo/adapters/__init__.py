"""Other people's interfaces on Octavo's files. Each imports the library that it is for, which is an
extra of its name: `pip install 'octavo[fsspec]'`.
"""
