"""Plumbline's own vault as a target of the differential runner."""
