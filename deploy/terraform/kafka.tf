# For Debezium's events. No ZooKeeper: brokers of this version keep their own quorum.
resource "aws_msk_configuration" "this" {
  count = var.kafka_enabled ? 1 : 0

  name           = "${var.name}-kafka"
  description    = "${var.name}: topics by name only, nothing acknowledged before two brokers have it"
  kafka_versions = ["3.9.x.kraft"]

  server_properties = <<-EOT
    auto.create.topics.enable=false
    default.replication.factor=3
    min.insync.replicas=2
    unclean.leader.election.enable=false
    log.retention.hours=${var.binlog_retention_hours}
  EOT
}

resource "aws_cloudwatch_log_group" "kafka" {
  count = var.kafka_enabled ? 1 : 0

  name              = "/${var.name}/kafka"
  retention_in_days = 30
  tags              = local.tags
}

# Clients log in with SCRAM; MSK takes only secrets whose names begin so, under a key of the customer.
ephemeral "aws_secretsmanager_random_password" "kafka" {
  password_length     = 48
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "kafka" {
  count = var.kafka_enabled ? 1 : 0

  name_prefix = "AmazonMSK_${var.name}-"
  description = "User and password of Kafka's clients"
  kms_key_id  = aws_kms_key.this.arn
  tags        = local.tags
}

resource "aws_secretsmanager_secret_version" "kafka" {
  count = var.kafka_enabled ? 1 : 0

  secret_id                = aws_secretsmanager_secret.kafka[0].id
  secret_string_wo_version = 1
  secret_string_wo = jsonencode({
    username = var.name
    password = ephemeral.aws_secretsmanager_random_password.kafka.random_password
  })
}

resource "aws_msk_scram_secret_association" "this" {
  count = var.kafka_enabled ? 1 : 0

  cluster_arn     = aws_msk_cluster.this[0].arn
  secret_arn_list = [aws_secretsmanager_secret.kafka[0].arn]
  depends_on      = [aws_secretsmanager_secret_version.kafka]
}

resource "aws_msk_cluster" "this" {
  count = var.kafka_enabled ? 1 : 0

  cluster_name           = "${var.name}-kafka"
  kafka_version          = "3.9.x.kraft"
  number_of_broker_nodes = length(var.subnet_ids) * ceil(3 / length(var.subnet_ids))

  broker_node_group_info {
    instance_type   = var.kafka_instance_type
    client_subnets  = var.subnet_ids
    security_groups = [aws_security_group.server["kafka"].id]

    storage_info {
      ebs_storage_info {
        volume_size = var.kafka_storage_gib
      }
    }
  }

  configuration_info {
    arn      = aws_msk_configuration.this[0].arn
    revision = aws_msk_configuration.this[0].latest_revision
  }

  client_authentication {
    sasl {
      scram = true
    }
  }

  encryption_info {
    encryption_at_rest_kms_key_arn = aws_kms_key.this.arn

    encryption_in_transit {
      client_broker = "TLS"
      in_cluster    = true
    }
  }

  logging_info {
    broker_logs {
      cloudwatch_logs {
        enabled   = true
        log_group = aws_cloudwatch_log_group.kafka[0].name
      }
    }
  }

  tags = local.tags
}
