"""The objective as a straight line of instructions: traced, gated, enumerated."""
