"""Layers and images: the store, the merged view of stacked layers, sealing, and the registry."""
