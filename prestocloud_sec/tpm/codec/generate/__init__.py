# SPDX-License-Identifier: Apache-2.0
"""Writes the straight-line text of a codec from a declaration.

The walk asks of every field what it is each time it meets one. The text written here has asked beforehand: neighbouring
fields of fixed width are one call of `struct`, nested structures stand in line, a union is one chain of branches for
all fields with the same selector, and what a number is held as is one look into a dictionary.

The text checks everything that the walk checks, but says nothing: whatever is not right raises some error, and the walk
is then asked what it is. A truncated input needs no check on the way. A slice that is too short moves the position
behind the end, where either the next number finds nothing or the comparison with the length at the end fails.
"""
