resource "aws_elasticache_subnet_group" "this" {
  name       = "${var.name}-store"
  subnet_ids = var.subnet_ids
  tags       = local.tags
}

resource "aws_elasticache_parameter_group" "this" {
  name        = "${var.name}-valkey8"
  family      = "valkey8"
  description = "${var.name}: entries have a time to live, so those are evicted; what has none (the meta) never is"
  tags        = local.tags

  parameter {
    name  = "maxmemory-policy"
    value = "volatile-ttl"
  }
}

# The password is made during the apply, goes into the secret write-only, and from there into the store: it is never in
# the state, and an apply that was cut short goes on with the same one.
ephemeral "aws_secretsmanager_random_password" "store" {
  password_length     = 48
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "store" {
  name_prefix = "${var.name}-store-"
  description = "Password of the shared store"
  kms_key_id  = aws_kms_key.this.arn
  tags        = local.tags
}

resource "aws_secretsmanager_secret_version" "store" {
  secret_id                = aws_secretsmanager_secret.store.id
  secret_string_wo         = ephemeral.aws_secretsmanager_random_password.store.random_password
  secret_string_wo_version = var.store_token_version
}

ephemeral "aws_secretsmanager_secret_version" "store" {
  secret_id  = aws_secretsmanager_secret.store.id
  version_id = aws_secretsmanager_secret_version.store.version_id
}

resource "aws_elasticache_replication_group" "this" {
  replication_group_id = "${var.name}-store"
  description          = "${var.name}: the shared store"
  engine               = "valkey"
  engine_version       = "8.0"
  node_type            = var.store_node_type
  port                 = local.ports.store

  num_cache_clusters         = 1 + var.store_replicas
  automatic_failover_enabled = true
  multi_az_enabled           = true

  at_rest_encryption_enabled = true
  kms_key_id                 = aws_kms_key.this.arn
  transit_encryption_enabled = true
  transit_encryption_mode    = "required"
  auth_token_wo              = ephemeral.aws_secretsmanager_secret_version.store.secret_string
  auth_token_wo_version      = var.store_token_version
  auth_token_update_strategy = "ROTATE"

  parameter_group_name = aws_elasticache_parameter_group.this.name
  subnet_group_name    = aws_elasticache_subnet_group.this.name
  security_group_ids   = [aws_security_group.server["store"].id]

  auto_minor_version_upgrade = true
  snapshot_retention_limit   = 0
  tags                       = local.tags
}
