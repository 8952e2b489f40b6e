"""Declared files: tables in TOML, choice by the data."""
