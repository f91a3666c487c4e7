"""The one room that enters namespaces, mounts and runs foreign code."""
