"""Replacement policies: which page leaves. Kernels over one array a policy, for live memory and for replay."""
