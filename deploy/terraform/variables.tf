variable "name" {
  description = "Prefix of everything that is made here."
  type        = string
  default     = "cachefront"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}[a-z0-9]$", var.name))
    error_message = "3 to 32 characters: lower-case letters, digits and hyphens, a letter first, no hyphen last."
  }
}

variable "vpc_id" {
  description = "The network in which the servers and their clients are."
  type        = string

  validation {
    condition     = startswith(var.vpc_id, "vpc-")
    error_message = "The id of a VPC begins with vpc-."
  }
}

variable "subnet_ids" {
  description = "Private subnets, in at least two availability zones."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 2 && alltrue([for id in var.subnet_ids : startswith(id, "subnet-")])
    error_message = "At least two ids that begin with subnet-."
  }
}

variable "client_security_group_ids" {
  description = "Security groups of the processes that may connect: the nodes or pods of the simulator, and Kafka Connect."
  type        = set(string)

  validation {
    condition     = length(var.client_security_group_ids) > 0 && alltrue([for id in var.client_security_group_ids : startswith(id, "sg-")])
    error_message = "At least one id that begins with sg-."
  }
}

variable "database_instance_class" {
  description = "Size of the MySQL server."
  type        = string
  default     = "db.t4g.medium"

  validation {
    condition     = startswith(var.database_instance_class, "db.")
    error_message = "An instance class of RDS begins with db."
  }
}

variable "database_storage_gib" {
  description = "Disk of the MySQL server; it grows by itself up to four times this."
  type        = number
  default     = 50

  validation {
    condition     = var.database_storage_gib >= 20 && var.database_storage_gib <= 16384
    error_message = "20 to 16384 GiB."
  }
}

variable "binlog_retention_hours" {
  description = "How long the server keeps its log: a consumer that is away longer voids the whole cache."
  type        = number
  default     = 72

  validation {
    condition     = var.binlog_retention_hours >= 24 && var.binlog_retention_hours <= 168
    error_message = "24 to 168 hours."
  }
}

variable "backup_retention_days" {
  description = "Days of backups. RDS writes a binary log only while there are backups."
  type        = number
  default     = 7

  validation {
    condition     = var.backup_retention_days >= 1 && var.backup_retention_days <= 35
    error_message = "1 to 35 days: with 0 there is no binary log."
  }
}

variable "store_node_type" {
  description = "Size of a node of the shared store."
  type        = string
  default     = "cache.t4g.small"

  validation {
    condition     = startswith(var.store_node_type, "cache.")
    error_message = "A node type of ElastiCache begins with cache."
  }
}

variable "store_replicas" {
  description = "Copies of the store beside the primary."
  type        = number
  default     = 1

  validation {
    condition     = var.store_replicas >= 1 && var.store_replicas <= 5
    error_message = "1 to 5: without a replica there is no fail-over."
  }
}

variable "store_token_version" {
  description = "Raise it to make a new password of the store. The password itself is never in the state."
  type        = number
  default     = 1

  validation {
    condition     = var.store_token_version >= 1
    error_message = "1 or more."
  }
}

variable "kafka_enabled" {
  description = "Make a Kafka for Debezium's events. Not needed where the consumer reads the binary log itself."
  type        = bool
  default     = true
}

variable "kafka_instance_type" {
  description = "Size of a broker."
  type        = string
  default     = "kafka.t3.small"

  validation {
    condition     = startswith(var.kafka_instance_type, "kafka.")
    error_message = "An instance type of MSK begins with kafka."
  }
}

variable "kafka_storage_gib" {
  description = "Disk of each broker."
  type        = number
  default     = 50

  validation {
    condition     = var.kafka_storage_gib >= 10 && var.kafka_storage_gib <= 16384
    error_message = "10 to 16384 GiB."
  }
}

variable "deletion_protection" {
  description = "Refuse to delete the database."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Put on everything."
  type        = map(string)
  default     = {}
}
