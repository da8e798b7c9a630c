"""Tables -> something to read. From stored rows only, without torch."""
