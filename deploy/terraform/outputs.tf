output "database_address" {
  description = "Host and port of MySQL. Make users for the simulator and for Connect; see deploy/terraform/README.md."
  value       = "${aws_db_instance.this.address}:${aws_db_instance.this.port}"
}

output "database_secret_arn" {
  description = "Where AWS keeps the administrator's password."
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}

output "store_address" {
  description = "Host and port of the shared store: rediss://:PASSWORD@HOST:PORT/ is its URL."
  value       = "${aws_elasticache_replication_group.this.primary_endpoint_address}:${local.ports.store}"
}

output "store_secret_arn" {
  description = "Where the store's password is."
  value       = aws_secretsmanager_secret.store.arn
}

output "kafka_brokers" {
  description = "Brokers, SCRAM over TLS; empty without Kafka."
  value       = var.kafka_enabled ? aws_msk_cluster.this[0].bootstrap_brokers_sasl_scram : ""
}

output "kafka_secret_arn" {
  description = "Where user and password of Kafka's clients are; empty without Kafka."
  value       = var.kafka_enabled ? aws_secretsmanager_secret.kafka[0].arn : ""
}
