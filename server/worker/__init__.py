"""Worker processes: messages, the child and the pool that supervises it."""
