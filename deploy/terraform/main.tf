locals {
  tags = merge({ application = var.name }, var.tags)
  ports = {
    database = 3306
    store    = 6379
    kafka    = 9096
  }
}

# One key for everything at rest.
resource "aws_kms_key" "this" {
  description             = "${var.name}: data at rest"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  tags                    = local.tags
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}

# A group for each server: nothing but its port, from nobody but the clients.
resource "aws_security_group" "server" {
  for_each = var.kafka_enabled ? local.ports : { for name, port in local.ports : name => port if name != "kafka" }

  name        = "${var.name}-${each.key}"
  description = "${var.name}: clients of the ${each.key}"
  vpc_id      = var.vpc_id
  tags        = merge(local.tags, { Name = "${var.name}-${each.key}" })
}

locals {
  admissions = {
    for pair in setproduct(keys(aws_security_group.server), var.client_security_group_ids) :
    "${pair[0]}-${pair[1]}" => { server = pair[0], client = pair[1] }
  }
}

resource "aws_vpc_security_group_ingress_rule" "client" {
  for_each = local.admissions

  security_group_id            = aws_security_group.server[each.value.server].id
  referenced_security_group_id = each.value.client
  description                  = "Clients of the ${each.value.server}"
  ip_protocol                  = "tcp"
  from_port                    = local.ports[each.value.server]
  to_port                      = local.ports[each.value.server]
  tags                         = local.tags
}
