"""Services that are asked for an answer: each is a pure pair, `request_for` and `outcome_of`; others send."""
