"""The dispatcher: what is asked when, where and how often, for all callers of a process."""
