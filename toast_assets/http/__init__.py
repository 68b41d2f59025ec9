"""What the clients of all services share: the way out of this machine, faults in words, secrets kept out of texts."""
