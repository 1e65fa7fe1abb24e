# The shape of a small Oracle Cloud stack, made of terraform_data so that it
# needs no account and no provider download. The outputs have the names and
# types of oci_core_instance and oci_core_volume_attachment.

terraform {
  required_version = ">= 1.10.0"

  # The path comes from the workflow (backend_config): the state lives on the
  # runner, outside the checkout.
  backend "local" {}
}

variable "nodes" {
  description = "The nodes to provision, by name."
  type = map(object({
    private_ip   = string
    public_ip    = string
    shape        = optional(string, "VM.Standard.A1.Flex")
    ssh_host_key = optional(string) # known if cloud-init was given it
    # What a cloud says by itself; made up if there is none.
    instance_id         = optional(string)
    availability_domain = optional(string, "Uocm:EU-FRANKFURT-1-AD-1")
    subnet_id           = optional(string)
    volume_id           = optional(string)
  }))
  default = {
    edge-1 = { private_ip = "10.0.0.10", public_ip = "203.0.113.10" }
  }
}

locals {
  region = "eu-frankfurt-1"
  # OCIDs that are stable for a name, as real ones are for an instance.
  ocid = { for name, node in var.nodes : name => coalesce(node.instance_id, "ocid1.instance.oc1.${local.region}.${sha256(name)}") }
}

resource "terraform_data" "vcn" {
  input = { cidr_block = "10.0.0.0/16", dns_label = "edge" }
}

resource "terraform_data" "instance" {
  for_each = var.nodes

  input = {
    id                  = local.ocid[each.key]
    display_name        = each.key
    availability_domain = each.value.availability_domain
    shape               = each.value.shape
    private_ip          = each.value.private_ip
    public_ip           = each.value.public_ip
    subnet_id           = coalesce(each.value.subnet_id, "ocid1.subnet.oc1.${local.region}.${sha256("subnet")}")
  }

  depends_on = [terraform_data.vcn]
}

resource "terraform_data" "volume_attachment" {
  for_each = var.nodes

  input = {
    attachment_type = "paravirtualized"
    device          = "/dev/oracleoci/oraclevdb"
    is_read_only    = false
    volume_id       = coalesce(each.value.volume_id, "ocid1.volume.oc1.${local.region}.${sha256("${each.key}-data")}")
  }
}

output "edge_nodes" {
  description = "What the runtime repository is told."
  value = {
    for name, instance in terraform_data.instance : name => {
      hostname            = name
      instance_id         = instance.output.id
      private_ip          = instance.output.private_ip
      public_ip           = instance.output.public_ip
      region              = local.region
      availability_domain = instance.output.availability_domain
      subnet_id           = instance.output.subnet_id
      volume_attachments  = [terraform_data.volume_attachment[name].output]
      tags                = { role = "k3s" }
      ssh_host_key        = var.nodes[name].ssh_host_key
    }
  }
}
