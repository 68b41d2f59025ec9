"""Against real servers: PostgreSQL as Dagster's storage, Ceph as S3."""
