"""Toast's HTTP interface and the proof that a window was read whole. Knows neither Dagster nor Amperity."""
