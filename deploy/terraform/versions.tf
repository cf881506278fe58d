terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # Write-only arguments, which keep secrets out of the state, came with later releases of 6: take the newest.
      version = "~> 6.0"
    }
  }
}
