"""Memory: frames, pages, pagers, reclaim and address spaces, each room above those before it."""
