"""Toast → bucket: a closed week of all restaurants, proved complete restaurant by restaurant."""
