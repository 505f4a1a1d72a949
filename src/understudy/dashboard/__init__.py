"""The pages that the hub serves to people: what the API answers, shown; what it allows, as buttons.

Absent on purpose: queries and rules of its own (a page shows a view of `hub/`, an act is the operation of an endpoint),
polling (what changes is pushed), anything loaded from elsewhere, inline scripts and styles. Programs use the API.
"""
