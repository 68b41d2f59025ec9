"""Bucket → Amperity: each record once in each of its versions, with a receipt for every one."""
