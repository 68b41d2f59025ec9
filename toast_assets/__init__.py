"""Toast orders to S3 and Amperity as weekly-partitioned Dagster assets."""
