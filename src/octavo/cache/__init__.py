"""The cache manager: file data through views of sections."""
