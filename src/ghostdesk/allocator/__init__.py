"""The Resource Allocator: what each ghost gets now, within capacity and context, and why."""
