# SPDX-License-Identifier: Apache-2.0
"""Helpers: what a program can call, declared as data, and those that work here."""
