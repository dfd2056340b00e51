"""How good searches are: sets of queries whose right answers are known, asked of verdex and of what one has without it.

The sets are made from code that is there anyway, so nobody wrote a query with an answer of verdex in mind.
"""
