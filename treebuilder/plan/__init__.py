"""What is to be built on what (layering), the keys of every result, the lock, and why something is built again."""
