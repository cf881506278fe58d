# MySQL 8.4, with a log that change capture can read: every row in full, with column names, under GTIDs.
resource "aws_db_parameter_group" "this" {
  name_prefix = "${var.name}-mysql84-"
  family      = "mysql8.4"
  description = "${var.name}: row format, full images, GTIDs"
  tags        = local.tags

  dynamic "parameter" {
    for_each = {
      binlog_format            = "ROW"
      binlog_row_image         = "FULL"
      binlog_row_metadata      = "FULL"
      "gtid-mode"              = "ON"
      enforce_gtid_consistency = "ON"
      require_secure_transport = "1"
    }

    content {
      name         = parameter.key
      value        = parameter.value
      apply_method = "pending-reboot"
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_db_subnet_group" "this" {
  name_prefix = "${var.name}-"
  subnet_ids  = var.subnet_ids
  tags        = local.tags
}

resource "aws_db_instance" "this" {
  identifier     = "${var.name}-mysql"
  engine         = "mysql"
  engine_version = "8.4"
  instance_class = var.database_instance_class
  db_name        = "cachefront"
  port           = local.ports.database

  # AWS makes the password, keeps it in Secrets Manager and changes it: it is never in the state.
  username                      = "administrator"
  manage_master_user_password   = true
  master_user_secret_kms_key_id = aws_kms_key.this.key_id

  storage_type          = "gp3"
  allocated_storage     = var.database_storage_gib
  max_allocated_storage = var.database_storage_gib * 4
  storage_encrypted     = true
  kms_key_id            = aws_kms_key.this.arn

  parameter_group_name   = aws_db_parameter_group.this.name
  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [aws_security_group.server["database"].id]
  publicly_accessible    = false
  multi_az               = true

  backup_retention_period             = var.backup_retention_days
  copy_tags_to_snapshot               = true
  deletion_protection                 = var.deletion_protection
  skip_final_snapshot                 = false
  final_snapshot_identifier           = "${var.name}-mysql-final"
  auto_minor_version_upgrade          = true
  iam_database_authentication_enabled = true
  performance_insights_enabled        = true
  performance_insights_kms_key_id     = aws_kms_key.this.arn
  enabled_cloudwatch_logs_exports     = ["error", "slowquery"]

  tags = local.tags
}
