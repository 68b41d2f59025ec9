"""Everything that Dagster sees: assets, checks, resources, sensors, one file per idea."""
