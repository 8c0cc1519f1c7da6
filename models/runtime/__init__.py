"""How networks are run: number format, memory layout, and who multiplies the matrices."""
