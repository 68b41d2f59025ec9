"""The three jobs — pull, export, deliver — as plain functions over clients and store. No Dagster."""
