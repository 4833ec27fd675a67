"""Migrations of MongoDB: `make migration m="add notes"` writes one. Do not edit a deployed one."""
