"""What is deployed: the image, the compose file, the values for Kubernetes and ECS."""
